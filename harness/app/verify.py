"""Stored trials run again and compared to the last bit; where all agree, trials of older code can count as this code's.

A trial of older code is one whose whole content is that of a planned trial, while its fingerprint is another. It is
found by content, prerequisites by theirs: the identities of trials that start from others contain those others' code.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from harness import registry
from harness.app.jobs import check_data, job_of, trained_weights_of
from harness.app.request import SessionRequest
from harness.app.run import new_run_id
from harness.app.session import Session, now, trial_row
from harness.data.checksums import sha256_of
from harness.execute.dispatch import Watch
from harness.execute.environment import environment, environment_id
from harness.plan.imported import FINGERPRINT
from harness.plan.planning import Plan, Selection, Trial, make_plan
from harness.store import Outcome, Queries, Writer, open_reader
from harness.store.encoding import restored
from harness.store.events import AdoptedEvent, EnvironmentEvent, LogEvent, OutcomeEvent, PlannedEvent
from harness.suite import Suite
from harness.trial.files import replacing
from harness.trial.recipe import identity_of
from harness.trial.result import Artifact, MetricSeries, Score
from harness.trial.saved import PRODUCT, has_trained_weights
from harness.vocabulary import FINAL, Status


@dataclass(frozen=True, slots=True)
class StoredMatch:
    """A planned trial and the stored one of its content; ``stored_id`` differs where older code made it."""

    trial: Trial
    stored_id: str
    fingerprint: str
    seconds: float

    @property
    def older(self) -> bool:
        """Whether other code than today's made it."""
        return self.stored_id != self.trial.trial_id

    @property
    def groups(self) -> frozenset[tuple[str, str]]:
        """What of a sample it covers: its task, and the family of each of its methods."""
        families = (registry.entry("method", method.name).metadata.family for method in self.trial.spec.slots)
        return frozenset([("task", self.trial.spec.task), *(("family", family) for family in families)])


@dataclass(frozen=True, slots=True)
class Repetition:
    """A trial that ran again: how many numbers were compared, and which of them differ in any bit."""

    label: str
    older: bool
    numbers: int
    differing: tuple[str, ...]
    error: str | None = None
    other_environment: bool = False

    @property
    def equal(self) -> bool:
        """Whether it ended, and every number is the same."""
        return self.error is None and not self.differing


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification showed.

    Attributes:
        current, older: stored trials of the plan that today's and other code made.
        repetitions: those that ran again.
        uncovered: tasks and families of which nothing could run again.
        adopted: trials of older code that now count as today's.
    """

    current: int
    older: int
    repetitions: tuple[Repetition, ...]
    uncovered: tuple[str, ...]
    adopted: int = 0

    @property
    def agrees(self) -> bool:
        """Whether something ran again, and all of it gave the same numbers."""
        return bool(self.repetitions) and all(one.equal for one in self.repetitions)


def verify(
    suite: Suite, selection: Selection, request: SessionRequest, watch: Watch, *, sample: int = 12, adopt: bool = False
) -> Verification:
    """Run stored trials of a suite's plan again, and with ``adopt`` let those of older code count as today's.

    Args:
        sample: how many run again; more where every task and family needs more, those of older code first.
        adopt: where every one agrees and none is uncovered, journal the older trials' numbers under today's identities.

    Raises:
        HarnessError: the plan, its data or the executor cannot be had.
    """
    plan = make_plan(suite, selection)
    check_data(plan)
    with Writer(request.database, f"verify-{new_run_id()}") as owner:
        with owner.reader() as reader:
            matches = matches_of(plan, reader)
            older = [match for match in matches if match.older]
            now_stored_as = {match.trial.trial_id: match.stored_id for match in matches}
            chosen, uncovered = sample_of(older or matches, sample, request.artifacts, now_stored_as)
            stored = {match.stored_id: stored_outcome(reader, match.stored_id) for match in chosen}
        owner.record(EnvironmentEvent(environment_id(), environment()))
        with tempfile.TemporaryDirectory() as folder, Session(owner, request, request.policy, watch) as session:
            again = {match.trial.trial_id: match for match in chosen}
            folders = {trial_id: Path(folder) / trial_id[:16] for trial_id in again}
            jobs = [job_of(match.trial, request, folders[trial_id], now_stored_as) for trial_id, match in again.items()]
            repetitions = tuple(
                compared(again[job.trial_id], stored[again[job.trial_id].stored_id], outcome)
                for job, outcome in session.repeat(jobs, watch)
            )
        found = Verification(len(matches) - len(older), len(older), repetitions, uncovered)
        detail = {
            "suite": suite.name,
            "sample": len(repetitions),
            "numbers": sum(one.numbers for one in repetitions),
            "differing": [one.label for one in repetitions if not one.equal],
            "older": len(older),
        }
        owner.record(LogEvent("verified", detail, str(owner.run_id)))
        if adopt and older and found.agrees and not uncovered:
            _adopt(owner, request, older, found)
            found = replace(found, adopted=len(older))
    return found


def matches_of(plan: Plan, reader: Queries) -> list[StoredMatch]:
    """The stored trials of a plan's contents: today's where there are any, else the newest of older code."""
    rows = reader.query(
        "SELECT trial_id, fingerprint, spec, status, wall_seconds FROM trials WHERE scale = ? "
        "AND fingerprint IS DISTINCT FROM ? ORDER BY started_at",
        (plan.scale, FINGERPRINT),
    ).dicts()
    specs = {row["trial_id"]: restored(row["spec"]) for row in rows if row["spec"] is not None}
    known: dict[str, str] = {}
    finished = {row["trial_id"]: row for row in rows if row["status"] in FINAL}
    by_content = {_content(trial_id, specs, known): row for trial_id, row in finished.items() if trial_id in specs}
    planned = {trial.trial_id: trial.spec.to_json() for trial in plan.trials}
    contents: dict[str, str] = {}
    matches = []
    for trial in plan.trials:
        row = finished.get(trial.trial_id) or by_content.get(_content(trial.trial_id, planned, contents))
        if row is not None:
            matches.append(StoredMatch(trial, row["trial_id"], row["fingerprint"], row["wall_seconds"] or 0.0))
    return matches


def _content(trial_id: str, specs: Mapping[str, Mapping[str, Any]], known: dict[str, str]) -> str:
    """sha256 of a trial's content without any code: its prerequisites count by their contents."""
    if trial_id not in known:
        spec = specs.get(trial_id)
        if spec is None:
            return f"unknown {trial_id}"
        before = {
            name: {**one, "trial_id": _content(one["trial_id"], specs, known)} if "trial_id" in one else dict(one)
            for name, one in spec["prerequisites"].items()
        }
        known[trial_id] = sha256_of({**spec, "recipe": identity_of(spec["recipe"]), "prerequisites": before})
    return known[trial_id]


def sample_of(
    matches: Sequence[StoredMatch], sample: int, artifacts: Path, stored: Mapping[str, str]
) -> tuple[list[StoredMatch], tuple[str, ...]]:
    """The quickest trials that cover every task and family, then the quickest others; and what cannot be covered.

    Only trials can run whose prerequisites' products are still among the ``artifacts``, as they are ``stored``.
    """
    wanted = {group for match in matches for group in match.groups}
    ready = []
    for match in sorted(matches, key=lambda match: (match.seconds, match.trial.label)):
        starts = trained_weights_of(match.trial, artifacts, stored).values()
        if all(has_trained_weights(path) for path in starts if path.suffix == ""):
            ready.append(match)
    chosen: list[StoredMatch] = []
    covered: set[tuple[str, str]] = set()
    for match in ready:
        if match.groups - covered:
            chosen.append(match)
            covered |= match.groups
    # a later choice may cover what an earlier one was chosen for; the sample stays a little larger then
    chosen += [match for match in ready if match not in chosen][: max(0, sample - len(chosen))]
    return chosen, tuple(sorted(f"{kind} {name}" for kind, name in wanted - covered))


def compared(match: StoredMatch, stored: Outcome, again: Outcome) -> Repetition:
    """Every final number and every value of every series, but for times."""
    if again.status != stored.status:
        error = f"it ended as {again.status}, stored is {stored.status}: {again.error or ''}".rstrip(": ")
        return Repetition(match.trial.label, match.older, 0, (), error)
    first, second = _numbers(stored), _numbers(again)
    differing = [name for name in sorted(first.keys() | second.keys()) if not _same(first.get(name), second.get(name))]
    other = stored.environment_id != again.environment_id
    return Repetition(match.trial.label, match.older, sum(map(len, first.values())), tuple(differing), None, other)


def _numbers(outcome: Outcome) -> dict[str, list[float | None]]:
    numbers: dict[str, list[float | None]] = {f"{one.split}.{one.metric}": [one.value] for one in outcome.results}
    for series in outcome.series:
        numbers[f"{series.split}.{series.name} over steps"] = [*map(float, series.step), *series.value]
    return numbers


def _same(first: list[float | None] | None, second: list[float | None] | None) -> bool:
    return first is not None and second is not None and len(first) == len(second) and all(map(_equal, first, second))


def _equal(first: float | None, second: float | None) -> bool:
    """True where two numbers have one value; NaN equals NaN."""
    if first is None or second is None:
        return first is second
    return first == second or (math.isnan(first) and math.isnan(second))


def stored_outcome(reader: Queries, trial_id: str) -> Outcome:
    """A stored trial's outcome, made again from its rows."""
    row = reader.trial(trial_id) or {}
    rows = reader.query(
        "SELECT split, name, step, epoch, value, elapsed_seconds FROM metrics WHERE trial_id = ? ORDER BY ALL",
        (trial_id,),
    ).rows
    columns = [(key, list(zip(*points, strict=True))[2:]) for key, points in groupby(rows, itemgetter(0, 1))]
    series = tuple(MetricSeries(*key, *map(list, points)) for key, points in columns)
    artifacts = tuple(
        Artifact(one["name"], one["kind"], Path(one["path"]), one["caption"] or "")
        for one in reader.artifacts([trial_id])
    )
    results = tuple(Score(split, metric, value) for _, split, metric, value in reader.results([trial_id]).rows)
    started = row["started_at"].isoformat() if row.get("started_at") is not None else None
    return Outcome(
        trial_id,
        Status(row["status"]),
        row["attempts"],
        started,
        row["environment_id"],
        row["device"],
        row["error"],
        results,
        series,
        artifacts,
        row["wall_seconds"],
        row["cpu_seconds"],
        row["peak_memory_mb"],
    )


def _adopt(owner: Writer, request: SessionRequest, older: Sequence[StoredMatch], found: Verification) -> None:
    """EventLog the numbers of older trials under today's identities; that they are adopted comes first."""
    run_id, numbers = str(owner.run_id), sum(one.numbers for one in found.repetitions)
    rows = [
        {
            "trial_id": match.trial.trial_id,
            "adopted_from": match.stored_id,
            "fingerprint": match.fingerprint,
            "verified_at": now(),
            "sample": len(found.repetitions),
            "numbers": numbers,
        }
        for match in older
    ]
    owner.record(AdoptedEvent(rows, run_id))
    owner.record(PlannedEvent(run_id, [trial_row(match.trial) for match in older]))
    with open_reader(request.database) as reader:
        for match in older:
            source, target = request.artifacts / match.stored_id, request.artifacts / match.trial.trial_id
            if has_trained_weights(source) and not has_trained_weights(target):
                with replacing(target / PRODUCT) as part:
                    shutil.copyfile(source / PRODUCT, part)
            outcome = replace(stored_outcome(reader, match.stored_id), trial_id=match.trial.trial_id)
            owner.record(OutcomeEvent(outcome, run_id))
