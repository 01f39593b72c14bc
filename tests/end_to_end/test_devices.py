"""A trial on two devices through Ray Train, here two CPU processes: the numbers are those of one device."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store import open_reader

MODEL = ("powernorm", "--benchmark", "ptb", "--arm", "layer")
PTB = ("run", *MODEL, "--seeds", "1", "--set", "steps=20", "--no-report", "--json")


@pytest.mark.ray
@pytest.mark.timeout(280)
def test_two_devices_train_as_one(
    tmp_path: Path, database: Path, harness: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Twenty steps of PowerNorm's LayerNorm language model; its stand-in has no dropout, whose masks would differ."""
    for devices, executor in ((1, "inline"), (2, "ray")):
        done = harness(*PTB, "--set", f"devices={devices}", "--executor", executor)
        assert done.returncode == 0, done.stderr + done.stdout
        assert json.loads(done.stdout.splitlines()[-1])["runs"][0]["counts"] == {"done": 1}
    with open_reader(database) as reader:
        trials = reader.query("SELECT trial_id, spec, attempts FROM trials WHERE status = 'done'").rows
        results = reader.query("SELECT trial_id, split, metric, value FROM results").rows
        losses = reader.query("SELECT trial_id, step, value FROM metrics WHERE name = 'loss' AND split = 'train'").rows
    ids = {json.loads(spec)["recipe"]["devices"]: trial for trial, spec, _ in trials}
    assert set(ids) == {1, 2}
    assert all(attempts == 1 for _, _, attempts in trials)
    item, two = ({row[1:-1]: row[-1] for row in results if row[0] == ids[devices]} for devices in (1, 2))
    assert set(item) == set(two) >= {("test", "perplexity"), ("train", "mechanism.validation_perplexity")}
    for name in (("test", "perplexity"), ("validation", "perplexity")):
        assert two[name] == pytest.approx(item[name], rel=1e-5)
    each = [{step: value for trial, step, value in losses if trial == ids[devices]} for devices in (1, 2)]
    assert len(each[0]) == 20
    assert each[1] == pytest.approx(each[0], rel=1e-5)
    assert each[0][1] - each[0][20] > 1, "nothing was learnt, so equality says nothing"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(280)
def test_each_process_of_a_trial_has_the_limit_of_memory(
    tmp_path: Path, database: Path, harness: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Less than torch itself takes: whichever process is ended, the trial fails with the figures, once."""
    done = harness(*PTB, "--set", "devices=2", "--executor", "ray", "--memory-per-trial", "150")
    assert done.returncode == 1, done.stderr + done.stdout
    with open_reader(database) as reader:
        ((status, error, attempts),) = reader.query("SELECT status, error, attempts FROM trials").rows
    assert (status, attempts) == ("failed", 1)
    assert error.startswith("out of memory: the trial held ")
    assert "its limit of 150 MiB" in error
