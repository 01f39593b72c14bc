"""Reads a trial's files ahead of its training: threads decode the next batches while the network computes.

A task lists the files of each batch and the function that makes it of their content (``PendingBatch``). A ``Loader``
reads a bounded number of batches ahead in threads and yields them in order. The training's thread draws all random
numbers, each from the batch's place in a stream: batches are bit-equal for any number of threads, and after a
resumption. Threads suffice since decoding and resizing release Python's lock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from harness.errors import HarnessError

AHEAD = 2
"""Batches that are read ahead, or more where these are fewer than ``ROWS_A_WORKER`` items a thread."""
ROWS_A_WORKER = 4
CHUNK = 8
"""Items that a thread takes at a time, at most."""

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T", covariant=True)
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class FileRows:
    """One tensor of a batch; each row is read from a file.

    ``read``: (number of the row, its file) to an array of ``shape``; a pure function, called by several threads.
    ``put`` copies it (second) into its row of the tensor (first).
    """

    files: Sequence[Path]
    read: Callable[[int, Path], Array]
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.uint8
    put: Callable[[Array, Array], None] = np.copyto

    def fill(self, row: int, out: Array) -> None:
        """Read a row into ``out``, an array of its shape and type."""
        self.put(out, self.read(row, self.files[row]))


@dataclass(frozen=True, slots=True)
class PendingBatch(Generic[T]):
    """A batch that is not read yet; ``make`` makes it of the tensors (files, *shape) of ``rows``."""

    rows: tuple[FileRows, ...]
    make: Callable[..., T]

    def then(self, change: Callable[[T], S]) -> PendingBatch[S]:
        """The same files with ``change`` applied to the batch."""
        make = self.make
        return PendingBatch(self.rows, lambda *tensors: change(make(*tensors)))


def ready(batch: S) -> PendingBatch[S]:
    """Wrap a batch that needs no reading."""
    return PendingBatch((), lambda: batch)


@dataclass(slots=True)
class _Started(Generic[T]):
    """A batch that is being read into ``tensors`` of the host's memory."""

    reading: PendingBatch[T]
    tensors: list[Tensor]
    chunks: list[tuple[int, int, int]]  # which of the tensors, from row, to row
    futures: list[Future[None]] = field(default_factory=list)

    @property
    def reads(self) -> bool:
        return bool(self.chunks)

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()


class Loader:
    """Reads batches for one trial with ``workers`` threads; 0: the caller reads, and nothing ahead.

    Memory is pinned for a GPU, so that copies to it do not wait.
    """

    def __init__(self, device: torch.device, workers: int = 0) -> None:
        self.device, self.workers = device, workers
        self._pinned = device.type == "cuda"
        self._pool: ThreadPoolExecutor | None = None
        self._closed = Event()

    def now(self, reading: PendingBatch[S]) -> S:
        return self._finish(self._start(reading))

    def ahead(self, readings: Iterable[PendingBatch[S]]) -> Iterator[S]:
        """Yield batches in order; the next ones are read while the caller works on one.

        Raises:
            HarnessError: a file cannot be read; raised with its path when its batch's turn comes.
        """
        coming, more = iter(readings), True
        started: deque[_Started[S]] = deque()
        try:
            while True:
                while more and (not started or len(started) <= self._depth(started[-1])):
                    reading = next(coming, None)
                    more = reading is not None
                    if reading is not None:
                        started.append(self._start(reading))
                if not started:
                    return
                yield self._finish(started.popleft())
        finally:
            for batch in started:
                batch.cancel()

    def close(self) -> None:
        """End the threads after their current items; unread batches are dropped."""
        self._closed.set()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _depth(self, last: _Started[Any]) -> int:
        if not self.workers or not last.reads:
            return 0
        rows = sum(len(tensor) for tensor in last.tensors)
        return max(AHEAD, math.ceil(ROWS_A_WORKER * self.workers / max(1, rows)))

    def _start(self, reading: PendingBatch[S]) -> _Started[S]:
        tensors = [
            torch.empty((len(rows.files), *rows.shape), dtype=rows.dtype, pin_memory=self._pinned)
            for rows in reading.rows
        ]
        count = sum(len(tensor) for tensor in tensors)
        size = max(1, min(CHUNK, count // max(1, 2 * self.workers)))
        chunks = [
            (place, first, min(first + size, len(tensor)))
            for place, tensor in enumerate(tensors)
            for first in range(0, len(tensor), size)
        ]
        started = _Started(reading, tensors, chunks)
        self._closed.clear()
        if self.workers and chunks:
            pool = self._threads()
            started.futures = [pool.submit(self._read, started, *chunk) for chunk in chunks]
        return started

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        return self._pool

    def _read(self, started: _Started[Any], place: int, first: int, last: int) -> None:
        rows, out = started.reading.rows[place], started.tensors[place].numpy()
        for row in range(first, last):
            if self._closed.is_set():
                return
            try:
                rows.fill(row, out[row])
            except (HarnessError, MemoryError):
                raise
            except Exception as error:
                raise HarnessError(f"{rows.files[row]} cannot be read: {type(error).__name__}: {error}") from error

    def _finish(self, started: _Started[S]) -> S:
        if started.futures:
            try:
                for future in started.futures:  # in order: the first of several errors is raised
                    future.result()
            except BaseException:
                started.cancel()
                raise
        else:
            for chunk in started.chunks:
                self._read(started, *chunk)
        tensors = (tensor.to(self.device, non_blocking=self._pinned) for tensor in started.tensors)
        return started.reading.make(*tensors)
