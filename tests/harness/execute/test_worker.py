"""Outcomes of a worker, its resources, and atomic files."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import errors
from harness.app.jobs import checkpoint_seconds
from harness.execute import resources, worker
from harness.execute.worker import Job, run_job
from harness.trial.files import replacing
from harness.vocabulary import Status


class OutOfTimeError(Exception):
    """An error of the user's code that is called as ours is."""


@pytest.mark.parametrize(
    ("error", "status"), [(errors.OutOfTimeError("late"), Status.TIMEOUT), (OutOfTimeError("theirs"), Status.FAILED)]
)
def test_a_timeout_is_told_by_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: Status
) -> None:
    def train(*_: object) -> Any:
        raise error

    monkeypatch.setattr(worker, "_train", train)
    outcome = run_job(Job("t", "b", "a", {"recipe": {}}, tmp_path), lambda *_: None)
    assert outcome.status == status
    assert outcome.error is not None
    assert outcome.error.startswith("OutOfTimeError: ")


@pytest.mark.parametrize(("platform", "reported"), [("darwin", 3 << 20), ("freebsd", 3 << 10)])
def test_peak_memory_is_in_bytes_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, reported: int
) -> None:
    monkeypatch.setattr(resources, "_STATUS", tmp_path / "absent")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resources.resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=reported))
    assert resources.peak_memory_bytes() == 3 << 20


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux lets it be set back")
def test_peak_memory_can_begin_anew() -> None:
    held = bytearray(64 << 20)
    before = resources.peak_memory_bytes()
    del held
    resources.reset_peak_memory()
    assert resources.peak_memory_bytes() < before


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("1,0", ("place 1", 2.5)), ("GPU-5a", ("uuid GPU-5a", 2.5)), ("2", ("place 2", None)), ("", (None, None))],
)
def test_energy_is_that_of_the_first_visible_gpu(
    monkeypatch: pytest.MonkeyPatch, visible: str, expected: tuple[str | None, float | None]
) -> None:
    import pynvml

    requested: list[str] = []

    def energy(device: str) -> int:
        requested.append(device)
        if device == "place 2":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 2500

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for name, function in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda place: f"place {place}",
        "nvmlDeviceGetHandleByUUID": lambda name: f"uuid {name}",
        "nvmlDeviceGetTotalEnergyConsumption": energy,
    }.items():
        monkeypatch.setattr(pynvml, name, function)
    joules = resources.gpu_joules()
    assert ((requested or [None])[0], joules) == expected


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), real(descriptor)))
    path = tmp_path / "new" / "file"
    with replacing(path) as part:
        part.write_text("first")
        assert not path.exists()
    assert not synced

    def write_half() -> None:
        with replacing(path, durable=True) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "first"
    with replacing(path, durable=True) as part:
        part.write_text("second")
    assert synced
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_what_killed_attempts_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, here = tmp_path / "checkpoint.pt.999999999.part", tmp_path / f"checkpoint.pt.{os.getpid()}.part"
    other = tmp_path / "theirs.part"
    for file in (gone, here, other):
        file.write_bytes(b"half")
    run_job(Job("t", "b", "a", {"recipe": {}}, tmp_path), lambda *_: None)
    assert {path.name for path in tmp_path.iterdir()} == {here.name, other.name}


def test_the_pace_of_checkpoints_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_CHECKPOINT_SECONDS", raising=False)
    assert checkpoint_seconds() == 60
    monkeypatch.setenv("HARNESS_CHECKPOINT_SECONDS", "0.5")
    assert checkpoint_seconds() == 0.5
    for wrong in ("soon", "-1", "nan"):
        monkeypatch.setenv("HARNESS_CHECKPOINT_SECONDS", wrong)
        with pytest.raises(errors.HarnessError, match=f"HARNESS_CHECKPOINT_SECONDS={wrong}: a number of seconds"):
            checkpoint_seconds()
