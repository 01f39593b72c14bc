"""Reading of files ahead of a training: order, bounds, errors, end."""

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from waiting import until

from harness.errors import HarnessError
from harness.trial.contracts import Task
from harness.trial.loading import AHEAD, ROWS_A_WORKER, FileRows, Loader, PendingBatch, ready
from harness.trial.saved import load_trained_weights

CPU = torch.device("cpu")
WORKERS = (0, 1, 2, 4)


class Disk:
    """Files that hold their own number; reads are counted, and wait while it is closed."""

    def __init__(self, batches: int, size: int = 4) -> None:
        self.read_files: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.broken: dict[int, Exception] = {}
        self.batches, self.size = batches, size
        self.listed = 0

    def read(self, row: int, file: Path) -> Any:
        assert self.open.wait(20)
        number = int(file.name)
        if number in self.broken:
            raise self.broken[number]
        time.sleep(0.002 * (number % 3))  # those of one batch come in out of order
        self.read_files.append(number)
        return np.full((2,), number, dtype=np.uint8)

    def readings(self) -> Iterator[PendingBatch[list[int]]]:
        for batch in range(self.batches):
            self.listed += 1
            files = [Path(str(self.size * batch + row)) for row in range(self.size)]
            yield PendingBatch((FileRows(files, self.read, (2,)),), lambda tensor: tensor[:, 0].tolist())


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    until(lambda: not threads(), "a thread is left")


@pytest.mark.parametrize("workers", WORKERS)
def test_batches_come_in_their_order(workers: int) -> None:
    loader = Loader(CPU, workers)
    assert list(loader.ahead(Disk(5).readings())) == [[4 * b, 4 * b + 1, 4 * b + 2, 4 * b + 3] for b in range(5)]
    loader.close()


@pytest.mark.parametrize("workers", WORKERS)
def test_no_more_is_read_than_the_bound(workers: int) -> None:
    disk, loader = Disk(40), Loader(CPU, workers)
    bound = max(AHEAD, -(-ROWS_A_WORKER * workers // disk.size)) if workers else 0
    for number, _ in enumerate(loader.ahead(disk.readings())):
        assert disk.listed <= number + 1 + bound
        assert len(disk.read_files) <= (number + 1 + bound) * disk.size
        if number == 10:
            break
    loader.close()


def test_the_next_batches_are_read_while_the_caller_works() -> None:
    disk, loader = Disk(10), Loader(CPU, 2)
    batches = loader.ahead(disk.readings())
    next(batches)
    until(lambda: len(disk.read_files) >= (1 + AHEAD) * disk.size)
    loader.close()


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("error", [HarnessError("a/9 is damaged"), FileNotFoundError(2, "gone"), ValueError("shape")])
def test_a_file_that_cannot_be_read_is_told_with_its_path_when_its_turn_comes(workers: int, error: Exception) -> None:
    disk, loader = Disk(5), Loader(CPU, workers)
    disk.broken = {11: HarnessError("a later one"), 9: error}
    message = "a/9 is damaged" if isinstance(error, HarnessError) else f"9 cannot be read: {type(error).__name__}"
    batches = loader.ahead(disk.readings())
    assert [next(batches), next(batches)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(HarnessError, match=message):
        next(batches)
    loader.close()


def test_memory_that_is_missing_stays_that_error() -> None:
    disk, loader = Disk(2), Loader(CPU, 1)
    disk.broken = {0: MemoryError("no room")}
    with pytest.raises(MemoryError):
        next(loader.ahead(disk.readings()))
    loader.close()


def test_the_end_drops_what_was_asked_for() -> None:
    disk, loader = Disk(50), Loader(CPU, 1)
    batches = loader.ahead(disk.readings())
    next(batches)
    disk.open.clear()
    before = len(disk.read_files)
    loader.close()
    disk.open.set()
    until(lambda: not threads())
    assert len(disk.read_files) <= before + 2  # the one that was being read


def test_what_lies_in_memory_needs_no_thread_and_is_not_taken_ahead() -> None:
    taken = []

    def readings() -> Iterator[PendingBatch[int]]:
        for number in range(6):
            taken.append(number)
            yield ready(number)

    loader = Loader(CPU, 4)
    for number in loader.ahead(readings()):
        assert taken[-1] == number
    assert not threads()


def test_two_tensors_of_a_batch_and_what_is_made_of_them() -> None:
    def rows(factor: int) -> FileRows:
        def read(row: int, file: Path) -> Any:
            return np.float32([factor * int(file.name)])

        return FileRows([Path("1"), Path("2"), Path("3")], read, (1,), torch.float32)

    loader = Loader(CPU, 2)
    reading = PendingBatch((rows(1), rows(10)), lambda units, tens: units + tens).then(
        lambda sums: sums.flatten().tolist()
    )
    assert loader.now(reading) == [11.0, 22.0, 33.0]
    loader.close()
    assert loader.now(reading) == [11.0, 22.0, 33.0]  # it begins again
    loader.close()


def test_who_says_anew_what_the_batches_are_is_taken_at_his_word() -> None:
    class Files(Task):
        def batches(self, epoch: int) -> Iterator[Any]:
            return iter(["read"])

        def readings(self, epoch: int) -> Iterator[PendingBatch[Any]]:
            return iter([ready("read ahead")])

    class Mine(Files):
        def batches(self, epoch: int) -> Iterator[Any]:
            return iter(["mine"])

    def first(task: type[Task]) -> Any:
        return Loader(CPU).now(next(iter(task.readings(task.__new__(task), 0))))  # type: ignore[type-abstract]

    for task, batch in ((Files, "read ahead"), (Mine, "mine")):
        task.__abstractmethods__ = frozenset()
        assert first(task) == batch


def test_published_weights_are_read_by_the_end_of_their_name(tmp_path: Path) -> None:
    weights = {"layer": torch.arange(3.0)}
    save_file(weights, tmp_path / "w.safetensors")
    torch.save({"state_dict": weights}, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        assert load_trained_weights(tmp_path / name)["layer"].tolist() == [0, 1, 2]
