"""Runs that meet faults: how they start, which trials have finished, and their numbers."""

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness.store import open_reader
from harness.store.rebuild import check

ROUND_SECONDS = 400
"""Seconds of a run that only a hang reaches."""
CHECKPOINT_SECONDS = "0.2"
"""Trials here last a second or few: at the usual pace none would ever be cut off with a checkpoint."""

Numbers = dict[tuple[str, str, str], float]


@dataclass(frozen=True)
class Work:
    """A command: the arguments of ``harness run``, its folder, and its numbers when undisturbed."""

    arguments: tuple[str, ...]
    folder: Path
    expected: Numbers

    @property
    def trials(self) -> int:
        return len({trial for trial, _, _ in self.expected})


def synthetic(folder: Path, tiny_text: str, seeds: int = 12, pause: float = 0.05) -> tuple[str, ...]:
    """Write a synthetic suite of two arms; each trial takes twenty pauses."""
    slow = tiny_text.replace("own_sd: 0.3}", f"own_sd: 0.3, step_seconds: {pause}}}")
    suite = folder / "tiny.yaml"
    suite.write_text(slow.replace("seeds: {min: 3", f"seeds: {{min: {seeds}"))
    return (str(suite),)


REAL = """
suite: digits
title: A real training
seeds: {{min: {seeds}, max: 12}}
arms:
  sgd: {{role: baseline, optimizer: sgd}}
  adamp: {{role: method, optimizer: adamp}}
benchmarks:
  digits:
    define:
      benchmark: digits
      title: Handwritten digits
      task: classification
      metrics: {{top1-accuracy: {{unit: percent, better: higher, floor: 0.1, perfect: 100}}}}
      mini:
        data: {{name: digits, train: 300, validation: 300, noise: 0.3}}
        model: {{name: bn-cnn, widths: [8, 16], strides: [1, 2]}}
        recipe: {{steps: {steps}, batch_size: 32, optimizer: {{adam: {{lr: 0.01}}, sgd: {{lr: 0.05, momentum: 0.9}}}}}}
facts:
  - {{id: adamp-is-better, suite: digits, benchmark: digits, metric: top1-accuracy, unit: percent, better: higher,
     kind: ordering, method: adamp, baseline: sgd, published: {{}}, statement: AdamP tells digits better than SGD.}}
claims: [{{id: adamp-is-better, benchmarks: [digits], arm: adamp, against: [sgd], primary: true}}]
"""


def real(folder: Path, seeds: int = 3, steps: int = 400) -> tuple[str, ...]:
    """Write a suite of AdamP against SGD on the digits."""
    suite = folder / "digits.yaml"
    suite.write_text(REAL.format(seeds=seeds, steps=steps))
    return (str(suite),)


def undisturbed(arguments: tuple[str, ...], folder: Path) -> Work:
    """Run it once without a fault."""
    database = folder / "whole.duckdb"
    work = Work(arguments, folder, {})
    assert started(work, database, "inline").wait(timeout=ROUND_SECONDS) == 0
    return Work(arguments, folder, numbers(database))


class Started(subprocess.Popen[bytes]):
    """A run in its own process group; its messages go to ``log``."""

    log: Path
    database: Path

    def end(self) -> None:
        """Kill the process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def said(self) -> str:
        return self.log.read_text(errors="replace")


def started(work: Work, database: Path, executor: str) -> Started:
    """Begin a run."""
    command = [sys.executable, "-m", "harness", "run", *work.arguments, "--no-report", "--quiet"]
    log = work.folder / f"{database.stem}.log"
    ours = {**os.environ, "HARNESS_CHECKPOINT_SECONDS": CHECKPOINT_SECONDS}
    with log.open("wb") as out:
        process = Started(
            [*command, "--db", str(database), "--executor", executor],
            cwd=work.folder,
            env=ours,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=out,
        )
    process.log, process.database = log, database
    return process


def journal_of(database: Path) -> Path:
    return database.with_name(database.name + ".journal")


def finished(database: Path) -> Counter[str]:
    """Count the ``done`` outcomes of each trial over all log segments."""
    counts: Counter[str] = Counter()
    journal = journal_of(database)
    names = {file.name.removesuffix(".gz") for file in journal.iterdir()} if journal.exists() else set()
    for name in sorted(item for item in names if item.endswith(".jsonl")):
        for line in _content(journal / name).splitlines(keepends=True):
            event = json.loads(line) if line.endswith(b"\n") else {"kind": "torn"}
            if (event["kind"], event.get("status")) == ("outcome", "done"):
                counts[event["trial_id"]] += 1
    return counts


def _content(segment: Path) -> bytes:
    """Read a log segment, or the archive that replaced it."""
    with contextlib.suppress(FileNotFoundError):
        return segment.read_bytes()
    return gzip.decompress(segment.with_name(segment.name + ".gz").read_bytes())


def numbers(database: Path) -> Numbers:
    with open_reader(database) as reader:
        return {row[:3]: row[3] for row in reader.query("SELECT trial_id, split, metric, value FROM results").rows}


def done_in(database: Path) -> set[str]:
    """Return the finished trials that a reader sees."""
    with open_reader(database) as reader:
        return {row[0] for row in reader.query("SELECT trial_id FROM trials WHERE status = 'done'").rows}


def assert_nothing_is_lost(database: Path, before: Counter[str]) -> Counter[str]:
    """Assert that log and database have each finished trial once."""
    after = finished(database)
    assert before.items() <= after.items(), "a finished trial was lost or ran again"
    assert not after or set(after.values()) == {1}, "a trial finished twice"
    if database.exists():
        assert done_in(database) == set(after), "the database has other finished trials than the event log"
    else:
        assert not after, "trials have finished, and there is no database"
    return after


def assert_whole(work: Work, database: Path) -> None:
    """Assert that the numbers are those of an undisturbed run."""
    assert numbers(database) == work.expected
    doubled = "SELECT trial_id FROM metrics GROUP BY trial_id, split, name, step HAVING count(*) > 1"
    with open_reader(database) as reader:
        assert reader.query(doubled).rows == []
    assert check(database) == []


def finish(work: Work, database: Path, executor: str = "inline") -> None:
    """Run the rest without a fault, and compare."""
    before = finished(database)
    process = started(work, database, executor)
    try:
        assert process.wait(timeout=ROUND_SECONDS) == 0, process.said()
    finally:
        process.end()
    assert_nothing_is_lost(database, before)
    assert_whole(work, database)
