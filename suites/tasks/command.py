"""Any program as a trial: a command line whose numbers come back as text."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, OutOfTimeError
from harness.registry.metadata import TaskMetadata
from harness.trial.options import REQUIRED, build, option
from harness.trial.programs import filled, known_values, words_of
from harness.trial.recipe import COMMON_KEYS, task_values
from harness.trial.result import Artifact, TrainingResult
from suites.tasks.program_process import Ended, Program, run_program
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
    """Run the program once, to its end, its deadline (OutOfTimeError) or its memory limit.

    Raises:
        HarnessError: it cannot be started, or its results cannot be read.
    """
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
