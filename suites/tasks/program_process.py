"""A program as a group of processes that ends as a whole.

It ends at its deadline, at its memory limit, and with this process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from harness.base import process_tree
from harness.errors import HarnessError
from suites.tasks.program_results import RecordReader

POLL_SECONDS = 0.1
MEMORY_SECONDS = 0.5
KEPT_BYTES = 4 * 2**20  # of the beginning of the output, and of its end
LINE_CHARACTERS = 10_000
LINES = 40
GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL at the deadline: time to write a checkpoint
PATIENCE_SECONDS = 1.0  # for children that end with the program

# Ends the group when this process is gone, however it went: a pipe closes with its last holder.
_GUARD = "import os,sys;sys.stdin.buffer.read();os.killpg(int(sys.argv[1]),9)"


@dataclass(frozen=True, slots=True)
class Program:
    """A command line ready to run; ``deadline`` is of ``time.monotonic()``."""

    words: tuple[str, ...]
    folder: Path
    variables: Mapping[str, str] = field(repr=False)
    output: Path
    deadline: float
    memory_mb: float | None


@dataclass(slots=True)
class Ended:
    """An ended program: exit code, cause, remaining processes, last lines."""

    code: int
    cause: Literal["", "time", "memory"]
    left: int
    last: list[str]


class _Output:
    """Copies output to a file of limited size and to the reader."""

    def __init__(self, stream: IO[bytes], path: Path, reader: RecordReader) -> None:
        self._stream, self._path, self._reader = stream, path, reader
        self.last: deque[str] = deque(maxlen=LINES)
        self._end: deque[bytes] = deque()
        self._size = 0
        self.thread = threading.Thread(target=self._pump, daemon=True)
        self.thread.start()

    def _pump(self) -> None:
        rest = b""
        with self._path.open("wb") as file:
            written = 0
            while chunk := self._stream.read1(65536):  # type: ignore[attr-defined]
                if written < KEPT_BYTES:
                    file.write(chunk)
                    file.flush()
                    written += len(chunk)
                else:
                    self._keep(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(line)
                if len(rest) > LINE_CHARACTERS:  # a line without end
                    self._take(rest)
                    rest = b""
            if rest:
                self._take(rest)
            if self._end:
                file.write(b"\n... the middle of the output was omitted ...\n")
                file.writelines(self._end)

    def _keep(self, chunk: bytes) -> None:
        self._end.append(chunk)
        self._size += len(chunk)
        while self._size > KEPT_BYTES:
            self._size -= len(self._end.popleft())

    def _take(self, line: bytes) -> None:
        text = line[:LINE_CHARACTERS].decode("utf-8", "replace").rstrip("\r")
        text = text.rpartition("\r")[2]  # of a progress bar the newest state
        if text.strip():
            self.last.append(text)
            self._reader.printed(text)


def run_program(program: Program, reader: RecordReader, beat: Callable[[int, float], None]) -> Ended:
    """Run a program and end all its processes (HarnessError if it cannot be started)."""
    try:
        process = subprocess.Popen(
            program.words,
            cwd=program.folder,
            env=program.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise HarnessError(f"'{program.words[0]}' cannot be started in {program.folder}: {error.strerror}") from error
    assert process.stdout is not None
    guard = subprocess.Popen(
        (sys.executable, "-S", "-E", "-c", _GUARD, str(process.pid)),
        stdin=subprocess.PIPE,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    output = _Output(process.stdout, program.output, reader)
    try:
        cause = _watched(process, program, reader, beat)
        left = _left(process.pid) if not cause else 0
    finally:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
        guard.kill()
        guard.wait()
    output.thread.join(timeout=GRACE_SECONDS)
    return Ended(process.returncode, cause, left, list(output.last))


def _watched(
    process: subprocess.Popen[bytes], program: Program, reader: RecordReader, beat: Callable[[int, float], None]
) -> Literal["", "time", "memory"]:
    looked = 0.0
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
            return ""
        reader.look()
        newest = reader.newest()
        if newest is not None:
            beat(*newest)
        now = time.monotonic()
        if now > program.deadline:
            _signal_group(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            return "time"
        if program.memory_mb is not None and now - looked > MEMORY_SECONDS:
            looked = now
            if process_tree.held_mib(process_tree.group(process.pid), program.memory_mb) > program.memory_mb:
                return "memory"


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _left(group: int) -> int:
    """Number of processes that outlive the program by ``PATIENCE_SECONDS``."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (left := len(process_tree.group(group))) and time.monotonic() < until:
        time.sleep(0.05)
    return left
