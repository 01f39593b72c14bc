"""Storage of imported results: a run for each file, with the file's trials."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

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


class ImportedSeeds(TypedDict):
    """The imported seeds of an arm on a benchmark."""

    benchmark: str
    arm: str
    seeds: list[int]


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """The result of importing a file; its fields are those of ``harness import --format json``.

    Attributes:
        run_id: the run that has its trials; None where the newest import of this file has them already.
        new: the number of trials that were missing; ``stored``: of those that were stored.
        left_out: the number of results that the mapping skips.
        failed: each ``trial`` without a score, as ``benchmark/arm/seed``, with its ``error``.
    """

    file: str
    kind: str
    sha256: str
    mapping: str
    run_id: str | None
    new: int
    stored: int
    series: int
    left_out: int
    cells: list[ImportedSeeds]
    failed: list[dict[str, str]]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file as trials, before anything is stored."""

    source: ForeignSource
    matched: Matched
    target: ImportTarget


def read_file(path: Path, mapping: ImportMap, target: ImportTarget, kind: str | None = None) -> ReadFile:
    """Read a file as trials of a suite; nothing is stored.

    Raises:
        HarnessError: it cannot be read, or has something unknown.
    """
    source = read_source(path, kind, mapping.table)
    return ReadFile(source, trials_of(source, mapping, target), target)


def store_files(read: Sequence[ReadFile], database: Path, command: str, dry_run: bool = False) -> list[ImportedFile]:
    """Store each file as a finished run, without stored trials; ``dry_run`` writes nothing."""
    return [_store(file, database, command, dry_run) for file in read]


def _store(read: ReadFile, database: Path, command: str, dry_run: bool) -> ImportedFile:
    source, trials = read.source, read.matched.trials
    there, newest = _stored(read, database)
    new = [trial for trial in trials if trial.trial_id not in there]
    again = {trial.trial_id for trial in trials} == newest
    run_id = None if again or dry_run else f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    if run_id is not None:
        _record(read, new, there, database, command, run_id)
    seeds: dict[tuple[str, str], list[int]] = {}
    for trial in trials:
        seeds.setdefault((trial.benchmark, trial.arm), []).append(trial.seed)
    return ImportedFile(
        file=source.name,
        kind=source.kind,
        sha256=source.sha256,
        mapping=in_words(read.matched.mapping),
        run_id=run_id,
        new=len(new),
        stored=len(trials) - len(new),
        series=sum(len(trial.series) for trial in trials),
        left_out=read.matched.left_out,
        cells=[{"benchmark": name, "arm": arm, "seeds": of_arm} for (name, arm), of_arm in seeds.items()],
        failed=[
            {"trial": f"{trial.benchmark}/{trial.arm}/{trial.seed}", "error": trial.error}
            for trial in trials
            if trial.error is not None
        ],
        notes=list(source.notes),
    )


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


def _record(
    read: ReadFile, new: Sequence[ImportedTrial], there: set[str], database: Path, command: str, run_id: str
) -> None:
    suite, scale, source = read.target.suite, read.target.scale, read.source
    mapping = read.matched.mapping.model_dump(exclude_defaults=True)
    origin = {"file": source.name, "sha256": source.sha256, "kind": source.kind, "mapping": mapping}
    words = in_words(read.matched.mapping)
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
            "imported": {**origin, "path": _place(source), "words": words, "notes": list(source.notes)},
        },
    }
    planned = [
        {
            "trial_id": trial.trial_id,
            "spec_id": sha256_of({"source": source.sha256, "mapping": mapping}),
            "fingerprint": FINGERPRINT,
            "suite": suite.name,
            "benchmark": trial.benchmark,
            "arm": trial.arm,
            "seed": trial.seed,
            "scale": scale,
            "stand_in": list(read.target.settings[trial.benchmark].stand_in),
            "spec": {
                "imported": {**origin, "at": began, "row": trial.place},
                **imported_spec(trial.arm, trial.seed, scale).to_json(),
            },
        }
        for trial in new
    ]
    links = [
        {"trial_id": trial.trial_id, "benchmark": trial.benchmark, "arm": trial.arm, "reused": trial.trial_id in there}
        for trial in read.matched.trials
    ]
    with Writer(database, run_id) as writer:
        writer.record(EnvironmentEvent(ENVIRONMENT, ABOUT))
        writer.record(RunEvent(run))
        writer.record(ClaimsEvent(suite.name, claim_rows(suite)))
        writer.record(PlannedEvent(run_id, planned, links))
        for trial in new:  # the run's last line waits for the disk, and with it all before it
            outcome = Outcome(
                trial.trial_id,
                trial.status,
                attempts=1,
                environment_id=ENVIRONMENT,
                error=trial.error,
                results=trial.results,
                series=trial.series,
            )
            writer.record(OutcomeEvent(outcome, run_id), durable=False)
        writer.record(RunEvent({"run_id": run_id, "status": "done", "finished_at": _now()}))


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat()
