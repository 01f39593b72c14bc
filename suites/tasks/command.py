"""Any program as a trial: a command line whose numbers come back as text."""

from __future__ import annotations

import os
import shutil
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
from typing import IO, TYPE_CHECKING, Any, Literal

from harness.base import process_tree
from harness.errors import HarnessError, OutOfTimeError
from harness.registry.metadata import TaskMetadata
from harness.trial.options import REQUIRED, build, option
from harness.trial.programs import filled, known_values, words_of
from harness.trial.recipe import COMMON_KEYS, task_values
from harness.trial.result import Artifact, TrainingResult
from suites.tasks.program_results import RecordReader, final_scores, reader_of

if TYPE_CHECKING:
    from harness.trial.runtime import Runtime
    from harness.trial.spec import TrialSpec

STARTED = ".started"
"""In the trial's folder from the beginning of its first attempt on."""
OUTPUT = "output.log"
RESULTS = "results.jsonl"
LAST_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOptions:
    """Options of the task ``command``."""

    command: Any = option(REQUIRED, "the program and its arguments, with {arm.KEY}, {seed}, {folder}, {data}")  # noqa: RUF009
    folder: str = option(".", "where it runs, from the suite's file")
    repository: str = option("", "a git repository to run in instead, with 'commit'")
    commit: str = option("", "of the repository: the whole name of a commit")
    code: tuple[str, ...] = option(
        ("**/*.py",), "patterns of the files that are its code: an edited one is another trial"
    )
    environment: str = option("", "a lock file, whose content is part of its identity")
    python: str = option("", "an interpreter for 'python' in the command, from the suite's file")
    results: Mapping[str, Any] = option({}, "how numbers come back: lines, output, csv, tensorboard or pattern")
    values: Mapping[str, Any] = option({}, "what the arms differ in: {arm.KEY} in the command")
    variables: Mapping[str, Any] = option({}, "environment variables, with the same names in braces")
    expects: tuple[str, ...] = option((), "metrics without which a trial has failed; by default the benchmark's")
    paired: str = option("seed", "what equal seeds share, as the script states", choices=("seed", "none"))
    resumes: bool = option(False, "the program continues from its folder (HARNESS_RESUME=1); else it starts again")
    memory_mb: float | None = option(None, "the program and its children are ended above this", low=1)
    writes: tuple[str, ...] | None = option(None, "accepted and ignored: a program may write where its user may")


def run(spec: TrialSpec, runtime: Runtime) -> TrainingResult:
    """Run the program once: OutOfTimeError at its deadline, HarnessError if it or its results fail."""
    options = build(CommandOptions, task_values(spec.recipe))
    folder = runtime.folder
    resuming = _prepared(folder, options.resumes)
    program = _program(spec, options, folder, str(runtime.data_root), resuming, runtime.deadline)
    reader = reader_of(options.results, folder, folder / RESULTS)
    ended = run_program(program, reader, lambda step, loss: runtime.beat(step, step, loss))
    if ended.cause == "time":
        raise OutOfTimeError(f"out of time: the program was ended{_last_lines(ended)}")
    return _result(options, reader, ended, folder)


def _prepared(folder: Path, resumes: bool) -> bool:
    """Create the trial's folder, or empty it unless the program resumes; return true if it resumes."""
    marker = folder / STARTED
    again = marker.exists()
    if again and not resumes:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    marker.touch()
    return again and resumes


def _program(
    spec: TrialSpec, options: CommandOptions, folder: Path, data: str, resuming: bool, deadline: float
) -> Program:
    where = _checkout(options, folder) if options.repository else Path(options.folder)
    if not where.is_dir():
        raise HarnessError(f"the program's folder {where} does not exist here")
    existing = known_values(spec.recipe, spec.seed, str(folder), data)
    words = [filled(word, existing) for word in words_of(options.command)]
    if options.python and words[0] in ("python", "python3"):
        words[0] = options.python
    own = {
        "HARNESS_SEED": str(spec.seed),
        "HARNESS_FOLDER": str(folder),
        "HARNESS_RESUME": str(int(resuming)),
        "HARNESS_RESULTS": str(folder / RESULTS),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(spec.recipe.get("threads", COMMON_KEYS["threads"].default)),
    }
    variables = {key: filled(str(value), existing) for key, value in options.variables.items()}
    return Program(
        tuple(words), where, {**os.environ, **own, **variables}, folder / OUTPUT, deadline, options.memory_mb
    )


def _checkout(options: CommandOptions, folder: Path) -> Path:
    """Check out the repository in one folder for all of its trials."""
    target = folder.parent / "programs" / options.commit
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    own = target.with_name(f"{options.commit}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        for words in (
            ("clone", "--quiet", options.repository, str(own)),
            ("-C", str(own), "checkout", "--quiet", "--detach", options.commit),
        ):
            done = subprocess.run(("git", *words), capture_output=True, text=True, check=False)
            if done.returncode:
                raise HarnessError(f"git {words[0]} of {options.repository} failed: {done.stderr.strip()[-500:]}")
        own.rename(target)
    except OSError:
        if not target.is_dir():  # another trial was first
            raise
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return target


def _result(options: CommandOptions, reader: RecordReader, ended: Ended, folder: Path) -> TrainingResult:
    reader.finish()
    series = reader.series()
    steps = max((item.step[-1] for item in series if item.step), default=0)
    log = Artifact(OUTPUT, "log", folder / OUTPUT, "what the program printed")

    def failed(why: str) -> TrainingResult:
        return TrainingResult("failed", [], [], [log], steps, why + _last_lines(ended))

    if ended.cause == "memory":
        return failed(f"out of memory: the program took more than {options.memory_mb:g} MiB")
    if ended.code:
        return failed(f"the program ended with {_code(ended.code)}")
    scores = final_scores(reader, options.results)
    for name in options.expects:
        result = [score for score in scores if score.metric == name]
        if not result:
            text = ", ".join(sorted({score.metric for score in scores})) or "none at all"
            return failed(f"the program ended and gave no {name}; it gave {text}")
        bad = [score for score in result if score.value is None]
        if bad:
            return failed(f"{name} is not finite at the end")
    if not scores:
        return failed("the program ended and gave no number")
    if ended.left:
        return failed(f"the program ended and left {ended.left} process{'es' * (ended.left > 1)} running, now ended")
    return TrainingResult("done", scores, series, [log], steps)


def _code(code: int) -> str:
    if code < 0:
        try:
            return f"the signal {signal.Signals(-code).name}"
        except ValueError:
            return f"the signal {-code}"
    return f"exit code {code}"


def _last_lines(ended: Ended) -> str:
    lines = ended.last[-LAST_LINES:]
    return "; its last lines:\n" + "\n".join(f"  {line[:300]}" for line in lines) if lines else "; it printed nothing"


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


METADATA = TaskMetadata(
    name="command",
    target="run",
    summary="any program: a command line whose numbers come back as lines, a table or text",
    slots=(),
    metrics=(),
    reads=("nothing",),
    options=CommandOptions,
    program=True,
)
