"""Stores imported results: one run for each file, with the file's trials."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.data.checksums import sha256_of
from harness.imports.foreign import ForeignSource
from harness.imports.mapping import ImportMap, in_words
from harness.imports.naming import ImportTarget
from harness.imports.sources import read_source
from harness.imports.trials import ImportedTrial, Matched, trials_of
from harness.judge.judging import claim_rows
from harness.plan.imported import ENVIRONMENT, FINGERPRINT, imported_spec
from harness.store import Outcome, Writer, open_reader
from harness.store.events import ClaimsEvent, EnvironmentEvent, OutcomeEvent, PlannedEvent, RunEvent
from harness.suite import suite_to_json
from harness.vocabulary import Status

ENDED = (Status.DONE, Status.DIVERGED, Status.FAILED)
ABOUT = {"class": "imported", "about": "results from elsewhere: nothing is known of where they were computed"}


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """The result of importing a file.

    Attributes:
        run_id: the run that has its trials; None where the newest import of this file has them already.
        new: trials that were not there; ``known``: those that were.
        cells: seeds by (benchmark, arm); ``failed``: trials without a score, with the reason.
    """

    file: str
    kind: str
    sha256: str
    mapping: str
    run_id: str | None
    new: int
    known: int
    cells: Mapping[tuple[str, str], Sequence[int]]
    failed: Sequence[tuple[str, str]]
    series: int
    left_out: int
    notes: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        cells = [{"benchmark": b, "arm": a, "seeds": list(seeds)} for (b, a), seeds in self.cells.items()]
        failed = [{"trial": label, "error": error} for label, error in self.failed]
        names = ("file", "kind", "sha256", "mapping", "run_id", "new", "known", "series", "left_out")
        plain = {name: getattr(self, name) for name in names}
        return {**plain, "cells": cells, "failed": failed, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that was read and understood, before anything is stored."""

    source: ForeignSource
    matched: Matched
    target: ImportTarget


def read_file(path: Path, mapping: ImportMap, target: ImportTarget, kind: str | None = None) -> ReadFile:
    """Read a file as trials of a suite; nothing is stored.

    Raises:
        HarnessError: it cannot be read, or something in it is not known.
    """
    source = read_source(path, kind, mapping.table)
    return ReadFile(source, trials_of(source, mapping, target), target)


def store_files(read: Sequence[ReadFile], database: Path, command: str, dry_run: bool = False) -> list[ImportedFile]:
    """Store each file as a finished run, without trials already stored.

    With ``dry_run`` nothing is written, and no database is made.
    """
    return [_store(file, database, command, dry_run) for file in read]


def _store(read: ReadFile, database: Path, command: str, dry_run: bool) -> ImportedFile:
    trials = read.matched.trials
    there, newest = _stored(read, database)
    new = [trial for trial in trials if trial.trial_id not in there]
    again = {trial.trial_id for trial in trials} == newest
    run_id = None if again or dry_run else f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    if run_id is not None:
        _journal(read, new, there, database, command, run_id)
    cells: dict[tuple[str, str], list[int]] = {}
    for trial in trials:
        cells.setdefault((trial.benchmark, trial.arm), []).append(trial.seed)
    failed = [(_label(trial), trial.error) for trial in trials if trial.error is not None]
    source, matched = read.source, read.matched
    return ImportedFile(
        source.name,
        source.kind,
        source.sha256,
        in_words(matched.mapping),
        run_id,
        len(new),
        len(trials) - len(new),
        cells,
        failed,
        sum(len(trial.series) for trial in trials),
        matched.left_out,
        matched.notes,
    )


def _label(trial: ImportedTrial) -> str:
    return f"{trial.benchmark}/{trial.arm}/{trial.seed}"


def _stored(read: ReadFile, database: Path) -> tuple[set[str], set[str]]:
    """A file's stored trials, and those of its newest import."""
    if not database.exists():
        return set(), set()
    with open_reader(database) as reader:
        statuses = reader.statuses(trial.trial_id for trial in read.matched.trials)
        rows = reader.query(
            """
            SELECT trial_id FROM run_trials WHERE run_id = (
                SELECT run_id FROM runs WHERE suite = ? AND scale = ? AND environment_id = ? AND status = 'done'
                    AND spec->>'$.imported.path' = ?
                ORDER BY started_at DESC, run_id DESC LIMIT 1)
            """,
            (read.target.suite.name, read.target.scale, ENVIRONMENT, _place(read.source)),
        ).rows
    return {trial for trial, status in statuses.items() if status in ENDED}, {trial for (trial,) in rows}


def _place(source: ForeignSource) -> str:
    return f"{source.path.resolve()}[{source.part}]" if source.part else str(source.path.resolve())


def _journal(
    read: ReadFile, new: Sequence[ImportedTrial], there: set[str], database: Path, command: str, run_id: str
) -> None:
    suite, scale, source = read.target.suite, read.target.scale, read.source
    words = in_words(read.matched.mapping)
    about = {
        "file": source.name,
        "path": _place(source),
        "kind": source.kind,
        "sha256": source.sha256,
        "mapping": dict(read.matched.mapping),
        "words": words,
        "notes": list(read.matched.notes),
    }
    began = _now()
    run = {
        "run_id": run_id,
        "suite": suite.name,
        "scale": scale,
        "started_at": began,
        "status": "running",
        "command": command,
        "environment_id": ENVIRONMENT,
        "spec": {
            "title": suite.model.title,
            "path": str(suite.path.resolve()),
            "resolved": suite_to_json(suite),
            "imported": about,
        },
    }
    links = [
        {"trial_id": trial.trial_id, "benchmark": trial.benchmark, "arm": trial.arm, "reused": trial.trial_id in there}
        for trial in read.matched.trials
    ]
    with Writer(database, run_id) as owner:
        owner.record(EnvironmentEvent(ENVIRONMENT, ABOUT))
        owner.record(RunEvent(run))
        owner.record(ClaimsEvent(suite.name, claim_rows(suite)))
        owner.record(PlannedEvent(run_id, [_row(read, trial, about, began) for trial in new], links))
        for trial in new:  # the run's last line waits for the disk, and with it all before it
            owner.record(OutcomeEvent(_outcome(trial), run_id), durable=False)
        owner.record(RunEvent({"run_id": run_id, "status": "done", "finished_at": _now()}))


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


def _row(read: ReadFile, trial: ImportedTrial, about: Mapping[str, Any], at: str) -> dict[str, Any]:
    """A trial's row of ``trials``: its content is where it comes from."""
    base = read.target.settings[trial.benchmark]
    source = {key: about[key] for key in ("file", "sha256", "kind", "mapping")} | {"at": at, "row": trial.place}
    spec = imported_spec(trial.arm, trial.seed, read.target.scale)
    return {
        "trial_id": trial.trial_id,
        "spec_id": sha256_of({"source": about["sha256"], "mapping": about["mapping"]}),
        "fingerprint": FINGERPRINT,
        "suite": read.target.suite.name,
        "benchmark": trial.benchmark,
        "arm": trial.arm,
        "seed": trial.seed,
        "scale": read.target.scale,
        "stand_in": list(base.stand_in),
        "spec": {"imported": source, **spec.to_json()},
    }


def _outcome(trial: ImportedTrial) -> Outcome:
    return Outcome(
        trial.trial_id,
        trial.status,
        attempts=1,
        environment_id=ENVIRONMENT,
        error=trial.error,
        results=trial.results,
        series=trial.series,
    )


def totals(files: Sequence[ImportedFile]) -> Counter[str]:
    """Counts over several files: ``new``, ``known``, ``failed``."""
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(new=file.new, known=file.known, failed=len(file.failed))
    return counts
