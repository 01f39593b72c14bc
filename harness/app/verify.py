"""Rerun stored trials and compare every number to the last bit; trials of older code can be accepted as current.

A stored trial matches a planned one if their contents are equal; if the fingerprints differ, older code measured it.
"""

import functools
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from harness import registry
from harness.app.jobs import check_data, job_of, trained_weights_of
from harness.app.request import SessionRequest
from harness.app.run import new_run_id
from harness.app.session import Session, now, planned_trials
from harness.base.values import plain
from harness.data.checksums import sha256_of
from harness.execute.dispatch import Policy, Watch
from harness.execute.environment import environment, environment_id
from harness.plan.imported import FINGERPRINT
from harness.plan.planning import Plan, Selection, Trial, make_plan
from harness.store import Outcome, Queries, Writer, open_reader
from harness.store.events import AdoptedEvent, EnvironmentEvent, LogEvent, OutcomeEvent
from harness.suite import Suite
from harness.trial.files import replacing
from harness.trial.recipe import identity_of
from harness.trial.result import Artifact, MetricSeries, Score
from harness.trial.saved import PRODUCT, has_trained_weights
from harness.vocabulary import FINAL, Status


@dataclass(frozen=True, slots=True)
class StoredMatch:
    """A planned trial and the stored trial with the same content."""

    trial: Trial
    stored_id: str
    fingerprint: str
    seconds: float

    @property
    def older(self) -> bool:
        """True if other code measured it."""
        return self.stored_id != self.trial.trial_id

    @property
    def groups(self) -> frozenset[tuple[str, str]]:
        """Its task and the family of each of its methods: what a sample must cover."""
        families = (registry.entry("method", method.name).metadata.family for method in self.trial.spec.slots)
        return frozenset([("task", self.trial.spec.task), *(("family", family) for family in families)])


@dataclass(frozen=True, slots=True)
class Repetition:
    """A rerun trial: number of compared values, and names of those that differ in any bit."""

    label: str
    older: bool
    numbers: int
    differing: tuple[str, ...]
    error: str | None = None
    other_environment: bool = False

    @property
    def equal(self) -> bool:
        return self.error is None and not self.differing


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification.

    Attributes:
        current, older: stored trials of the plan, measured by today's and by other code.
        repetitions: the rerun trials.
        uncovered: tasks and families without a trial that can be rerun.
        adopted: trials of older code that now count as current.
    """

    current: int
    older: int
    repetitions: tuple[Repetition, ...]
    uncovered: tuple[str, ...]
    adopted: int = 0

    @property
    def agrees(self) -> bool:
        return bool(self.repetitions) and all(again.equal for again in self.repetitions)

    @property
    def numbers(self) -> int:
        return sum(again.numbers for again in self.repetitions)


def verify(
    suite: Suite, selection: Selection, request: SessionRequest, watch: Watch, *, sample: int = 12, adopt: bool = False
) -> Verification:
    """Rerun stored trials of a suite's plan; with ``adopt`` accept those of older code as current.

    A claim whose trials gave another score when they ran again is ``invalid`` from then on.

    Args:
        sample: number of trials, those of older code first; more if the tasks and families need more.
        adopt: if all agree and none is uncovered, store the older trials' numbers under today's identities.

    Raises:
        HarnessError: the plan, its data or the executor is not available.
    """
    plan = make_plan(suite, selection)
    check_data(plan)
    with Writer(request.database, f"verify-{new_run_id()}") as writer:
        with writer.reader() as reader:
            matches = matches_of(plan, reader)
            older = [match for match in matches if match.older]
            now_stored_as = {match.trial.trial_id: match.stored_id for match in matches}
            sampled, uncovered = sample_of(older or matches, sample, request.artifacts, now_stored_as)
            stored = {match.stored_id: stored_outcome(reader, match.stored_id) for match in sampled}
        writer.record(EnvironmentEvent(environment_id(), environment()))
        with tempfile.TemporaryDirectory() as folder, Session(writer, request, Policy(), watch) as session:
            by_id = {match.trial.trial_id: match for match in sampled}
            folders = {trial_id: Path(folder) / trial_id[:16] for trial_id in by_id}
            jobs = [job_of(match.trial, request, folders[trial_id], now_stored_as) for trial_id, match in by_id.items()]
            repetitions = []
            for job, outcome in session.repeat(jobs, watch):
                match = by_id[job.trial_id]
                repetitions.append(compared(match, stored[match.stored_id], outcome))
                if not match.older:
                    writer.record(_repeated(repetitions[-1], outcome, str(writer.run_id)))
        result = Verification(len(matches) - len(older), len(older), tuple(repetitions), uncovered)
        detail = {
            "suite": suite.name,
            "sample": len(repetitions),
            "numbers": result.numbers,
            "differing": [again.label for again in repetitions if not again.equal],
            "older": len(older),
        }
        writer.record(LogEvent("verified", detail, str(writer.run_id)))
        if adopt and older and result.agrees and not uncovered:
            _adopt(writer, request, older, result)
            result = replace(result, adopted=len(older))
    return result


def matches_of(plan: Plan, reader: Queries) -> list[StoredMatch]:
    """Return the stored trials of a plan: current ones if there are any, else the newest of older code."""
    rows = reader.query(
        "SELECT trial_id, spec_id, fingerprint, spec, status, wall_seconds FROM trials WHERE scale = ? "
        "AND fingerprint IS DISTINCT FROM ? ORDER BY started_at",
        (plan.scale, FINGERPRINT),
    ).dicts()
    finished = {row["trial_id"]: row for row in rows if row["status"] in FINAL}
    stored = contents_of({row["trial_id"]: (row["spec_id"], row["spec"]) for row in rows if row["spec"] is not None})
    planned = contents_of({trial.trial_id: (trial.spec_id, trial.spec.to_json()) for trial in plan.trials})
    by_content = {stored(trial_id): row for trial_id, row in finished.items()}
    matches = []
    for trial in plan.trials:
        row = finished.get(trial.trial_id) or by_content.get(planned(trial.trial_id))
        if row is not None:
            matches.append(StoredMatch(trial, row["trial_id"], row["fingerprint"], row["wall_seconds"] or 0.0))
    return matches


def contents_of(trials: Mapping[str, tuple[str, Any]]) -> Callable[[str], str]:
    """Return the contents of trials without their code; ``trials``: ``spec_id`` and spec, as JSON.

    Equal contents have equal text: the ``spec_id`` of a trial that starts from no other. Other trials' ``spec_id``
    contains the identities of those that they start from, with code: their contents replace them.
    """

    @functools.cache
    def content(trial_id: str) -> str:
        if trial_id not in trials:
            return f"unknown {trial_id}"
        spec_id, spec = trials[trial_id]
        starts = spec["prerequisites"]
        before = {
            name: {**start, "trial_id": content(start["trial_id"])}
            for name, start in starts.items()
            if "trial_id" in start
        }
        if not before:
            return spec_id
        # the store has infinite numbers as text
        whole = {**spec, "recipe": identity_of(spec["recipe"]), "prerequisites": {**starts, **before}}
        return sha256_of(plain(whole, named=True))

    return content


def sample_of(
    matches: Sequence[StoredMatch], sample: int, artifacts: Path, stored: Mapping[str, str]
) -> tuple[list[StoredMatch], tuple[str, ...]]:
    """Return a sample of quick trials, and what it leaves uncovered.

    A trial that starts from trained weights can run only if these are still in ``artifacts``, as they are ``stored``.
    """
    wanted = {group for match in matches for group in match.groups}
    ready = []
    for match in sorted(matches, key=lambda match: (match.seconds, match.trial.label)):
        starts = trained_weights_of(match.trial, artifacts, stored).values()
        if all(has_trained_weights(path) for path in starts if path.suffix == ""):
            ready.append(match)
    sampled: list[StoredMatch] = []
    covered: set[tuple[str, str]] = set()
    for match in ready:
        if match.groups - covered:
            sampled.append(match)
            covered |= match.groups
    # a later choice may cover what an earlier one was sampled for; the sample stays a little larger then
    sampled += [match for match in ready if match not in sampled][: max(0, sample - len(sampled))]
    return sampled, tuple(sorted(f"{kind} {name}" for kind, name in wanted - covered))


def compared(match: StoredMatch, stored: Outcome, again: Outcome) -> Repetition:
    """Compare every final number and every value of every series, without times."""
    if again.status != stored.status:
        error = f"it ended as {again.status}, stored is {stored.status}: {again.error or ''}".rstrip(": ")
        return Repetition(match.trial.label, match.older, 0, (), error)
    first, second = _numbers(stored), _numbers(again)
    differing = [name for name in sorted(first.keys() | second.keys()) if not _same(first.get(name), second.get(name))]
    other = stored.environment_id != again.environment_id
    return Repetition(match.trial.label, match.older, sum(map(len, first.values())), tuple(differing), None, other)


def _repeated(again: Repetition, outcome: Outcome, run_id: str) -> LogEvent:
    detail = {
        "trial_id": outcome.trial_id,
        "label": again.label,
        "status": outcome.status,
        "numbers": again.numbers,
        "differing": list(again.differing),
        "equal": again.equal,
        "environment_id": outcome.environment_id or "",
        "results": [score._asdict() for score in outcome.results],
    }
    return LogEvent("determinism", detail, run_id)


def _numbers(outcome: Outcome) -> dict[str, list[float | None]]:
    numbers: dict[str, list[float | None]] = {f"{item.split}.{item.metric}": [item.value] for item in outcome.results}
    for series in outcome.series:
        numbers[f"{series.split}.{series.name} over steps"] = [*map(float, series.step), *series.value]
    return numbers


def _same(first: list[float | None] | None, second: list[float | None] | None) -> bool:
    return first is not None and second is not None and len(first) == len(second) and all(map(_equal, first, second))


def _equal(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return first == second or (math.isnan(first) and math.isnan(second))


def stored_outcome(reader: Queries, trial_id: str) -> Outcome:
    """Return a stored trial's outcome from its rows."""
    row = reader.trial(trial_id) or {}
    rows = reader.query(
        "SELECT split, name, step, epoch, value, elapsed_seconds FROM metrics WHERE trial_id = ? ORDER BY ALL",
        (trial_id,),
    ).rows
    columns = [(key, list(zip(*points, strict=True))[2:]) for key, points in groupby(rows, itemgetter(0, 1))]
    series = tuple(MetricSeries(*key, *map(list, points)) for key, points in columns)
    artifacts = tuple(
        Artifact(item["name"], item["kind"], Path(item["path"]), item["caption"] or "")
        for item in reader.artifacts([trial_id]).dicts()
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


def _adopt(writer: Writer, request: SessionRequest, older: Sequence[StoredMatch], result: Verification) -> None:
    """Store the numbers of older trials under today's identities, their origin first."""
    run_id = str(writer.run_id)
    rows = [
        {
            "trial_id": match.trial.trial_id,
            "adopted_from": match.stored_id,
            "fingerprint": match.fingerprint,
            "verified_at": now(),
            "sample": len(result.repetitions),
            "numbers": result.numbers,
        }
        for match in older
    ]
    writer.record(AdoptedEvent(rows, run_id))
    writer.record(planned_trials(run_id, [match.trial for match in older]))
    with open_reader(request.database) as reader:
        for match in older:
            source, target = request.artifacts / match.stored_id, request.artifacts / match.trial.trial_id
            if has_trained_weights(source) and not has_trained_weights(target):
                with replacing(target / PRODUCT) as part:
                    shutil.copyfile(source / PRODUCT, part)
            outcome = replace(stored_outcome(reader, match.stored_id), trial_id=match.trial.trial_id)
            writer.record(OutcomeEvent(outcome, run_id))
