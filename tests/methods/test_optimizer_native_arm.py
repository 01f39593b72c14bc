"""The C kernel as an arm's choice: ``optimizer: {name: adamp, native: true}`` in a suite file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.execute.worker import Job, Outcome, run_job
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite
from methods.optimizers import SGDP, AdamP, kernel

SUITE = """
suite: own
title: The native kernel as an arm
arms:
  adamp-torch: {role: baseline, optimizer: {name: adamp, lr: 1e-2, weight_decay: 1e-2}}
  adamp-native: {role: method, optimizer: {name: adamp, lr: 1e-2, weight_decay: 1e-2, native: NATIVE}}
  sgdp-torch: {role: baseline, optimizer: {name: sgdp, lr: 0.1, momentum: 0.9, weight_decay: 1e-3}}
  sgdp-native: {role: method, optimizer: {name: sgdp, lr: 0.1, momentum: 0.9, weight_decay: 1e-3, native: NATIVE}}
benchmarks:
  digits:
    define:
      benchmark: digits
      title: Digits
      task: classification
      metrics: {top1-accuracy: {unit: percent, better: higher}}
      mini:
        data: {name: digits, train: 200}
        model: {name: bn-cnn, widths: [8], strides: [2]}
        recipe: {epochs: 2, batch_size: 20}
"""
needs_compiler = pytest.mark.skipif(kernel.load() is None, reason="no C compiler with OpenMP")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(SUITE.replace("NATIVE", "true"), encoding="utf-8")
    return path


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CC", "/no/such/compiler")
    kernel.load.cache_clear()
    yield
    monkeypatch.undo()
    kernel.load.cache_clear()


def outcome(suite: Path, arm: str, folder: Path) -> Outcome:
    plan = make_plan(load_suite(suite), Selection(seeds=(0,), arms=(arm,), scale="smoke"))
    (trial,) = plan.trials
    assert trial.spec.slots.methods["optimizer"].values["native"] == arm.endswith("native")
    return run_job(Job(trial.trial_id, trial.benchmark, trial.arm, trial.spec, folder), lambda step, steps, loss: None)


@needs_compiler
@pytest.mark.parametrize("kind", ["adamp", "sgdp"])
def test_a_smoke_trial_gives_the_numbers_of_the_torch_form(
    kind: str, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    native_step = kernel.step
    monkeypatch.setattr(kernel, "step", lambda *inputs, **named: (steps.append(1), native_step(*inputs, **named)))
    losses = []
    for form in ("torch", "native"):
        ended = outcome(suite, f"{kind}-{form}", tmp_path / form)
        assert ended.status == "done", ended.error
        (series,) = (series for series in ended.series if (series.split, series.name) == ("train", "loss"))
        losses.append(torch.tensor(series.value))
        assert bool(steps) == (form == "native"), "an arm takes the form that it names"
    assert len(losses[0]) > 1
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)


def test_without_a_compiler_the_trial_says_what_is_missing(no_compiler: None, suite: Path, tmp_path: Path) -> None:
    ended = outcome(suite, "adamp-native", tmp_path / "trial")
    assert ended.status == "failed"
    assert "native=True needs a C compiler with OpenMP" in ended.error
    for build in (AdamP, SGDP):
        with pytest.raises(RuntimeError, match="use native=False"):
            build([{"params": [nn.Parameter(torch.ones(2, 3))], "native": True}], lr=0.1)
