"""Preflight's report on the loader's rate and the step's need."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness import registry
from harness.cli.check import _loaders, _row
from harness.plan.planning import Selection, make_plan
from harness.preflight import DEVICES, PreflightSettings
from harness.preflight.measure import Copies, reading_seconds
from harness.preflight.rows import ConfigurationResult, _result
from harness.preflight.work import Measurement, PreflightConfiguration, cells_of
from harness.suite import load_suite
from harness.trial.assembly import assemble
from harness.trial.runtime import Runtime


def cell_of(scale: str, benchmark: str, **overrides: object) -> PreflightConfiguration:
    chosen = Selection(scale, benchmarks=(benchmark,), arms=("adamp",), seeds=(0,), overrides=overrides)
    return cells_of(make_plan(load_suite("adamp"), chosen))[0]


def result(
    read_seconds: float | None, flops: int = 10**9, device: str = "h100", **overrides: object
) -> ConfigurationResult:
    cell = cell_of("paper", "imagenet-resnet18", **overrides)
    measured = Measurement(stage="done", flops=flops, read_seconds=read_seconds)
    return _result(cell, cell.work, measured, PreflightSettings(DEVICES[device], utilisation=0.5))


def test_the_need_of_a_step_is_its_arithmetic_on_the_device() -> None:
    match = result(0.002, loader_workers=4)
    assert match.loader_items == pytest.approx(4 / 0.002)
    # A micro-batch of two items takes 10⁹ operations, half of 67 · 10¹² a second are reached.
    assert match.step_items == pytest.approx(2 * 0.5 * 67e12 / 1e9)
    assert match.headroom == pytest.approx(2000 / match.step_items)


def test_more_threads_read_more_and_the_rest_stays() -> None:
    few, many = result(0.002, loader_workers=1), result(0.002, loader_workers=8)
    assert many.headroom == pytest.approx(8 * (few.headroom or 0))
    assert result(0.002).readers == result(0.002, loader_workers=0).readers == 1
    assert result(0.002, threads=3).readers == 3


def test_what_starves_is_told_with_what_it_takes() -> None:
    slow, fast = result(0.002, loader_workers=2), result(0.002, flops=10**12, loader_workers=2)
    (line,) = _loaders((fast, slow))  # of a benchmark's configurations the one that would wait first
    assert line.startswith("adamp/imagenet-resnet18: loader: 1,000 items/s; step needs 67,000 items/s on this device")
    assert line.endswith("which would wait: on such cores set loader_workers to 134")
    (line,) = _loaders((fast,))
    assert line.endswith(f"a device {fast.headroom:.1f} times faster would wait")
    assert "×15" in _row(fast)


def test_what_lies_in_memory_needs_no_loader() -> None:
    match = result(None)
    assert match.loader_items is None
    assert match.headroom is None
    assert list(_loaders((match,))) == []
    assert "memory" in _row(match)


@pytest.mark.parametrize(("scale", "files"), [("paper", True), ("mini", False)])
def test_the_time_of_reading_is_taken_where_files_are_read(scale: str, files: bool, tmp_path: Path) -> None:
    spec = cell_of(scale, "dcase").work.spec
    data, root = Copies(tmp_path).data(spec.data)
    spec = type(spec).from_json({**spec.to_json(), "data": {**data.to_json(), "content": {}}})
    task = assemble(spec, Runtime(tmp_path, torch.device("cpu"), registry.load, root or tmp_path))
    task.build()
    seconds = reading_seconds(task)
    assert (seconds is not None and 0 < seconds < 1) == files
