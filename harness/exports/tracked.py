"""A trial as trackers see it: names, hyper-parameters, final numbers and curves, from the store or as it ends."""

import calendar
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from harness.base.values import texts_of
from harness.execute.outcome import Outcome
from harness.results.current import ConfigurationTrial, ResultFilter, StoredRun, cell_trials, stored_runs
from harness.store.queries import Queries
from harness.trial.result import MetricSeries, Score
from harness.trial.spec import TrialSpec
from harness.vocabulary import Protocol, Status

POINT, PREREQUISITE = "sweep points", "prerequisites"
_ENDED = frozenset(Status) - {Status.QUEUED, Status.RUNNING}


class TrackedPoint(NamedTuple):
    """A value of a curve; ``at`` in seconds since 1970."""

    step: int
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class TrackedTrial:
    """A trial under the name of its cell.

    Attributes:
        kind: ``published``, ``tuned``, ``rates``, ``sweep points`` or ``prerequisites``: never pooled, each has
            its own group.
        spec: the content as the store keeps it.
    """

    suite: str
    scale: str
    benchmark: str
    arm: str
    kind: str
    seed: int
    trial_id: str
    status: str
    started_at: datetime | None
    wall_seconds: float | None
    error: str | None
    spec: Mapping[str, Any] = field(repr=False)
    results: tuple[Score, ...] = field(repr=False)
    series: tuple[MetricSeries, ...] = field(repr=False)
    run: StoredRun | None = None
    fingerprint: str = ""

    @property
    def group(self) -> str:
        """Suite and scale; other kinds than published trials are groups apart."""
        return f"{self.suite}/{self.scale}" + (f"/{self.kind}" if self.kind != Protocol.PUBLISHED else "")

    @property
    def name(self) -> str:
        """``benchmark/arm/seed``."""
        return f"{self.benchmark}/{self.arm}/{self.seed}"

    @property
    def key(self) -> str:
        """32 hexadecimal digits, the same each time: a trial that stands in two cells has one in each."""
        return hashlib.sha256(f"{self.trial_id}/{self.group}/{self.name}".encode()).hexdigest()[:32]

    @property
    def began(self) -> float:
        """Seconds since 1970; 0 where it never began."""
        moment = self.started_at
        return 0.0 if moment is None else calendar.timegm(moment.utctimetuple()) + moment.microsecond / 1e6

    @property
    def ended(self) -> float:
        """Seconds since 1970."""
        return self.began + (self.wall_seconds or 0.0)

    @property
    def params(self) -> dict[str, str]:
        """Cell and seed, and every value of the content by dotted key; checksums of data are left out."""
        parts = {part: self.spec.get(part) or {} for part in ("data", "model", "recipe", "slots")}
        parts["data"] = {key: value for key, value in parts["data"].items() if key != "content"}
        cell = {"suite": self.suite, "scale": self.scale, "benchmark": self.benchmark, "arm": self.arm}
        return {**cell, "seed": str(self.seed), "task": str(self.spec.get("task", "")), **texts_of(parts)}

    @property
    def tags(self) -> dict[str, str]:
        """Identity and status as tags."""
        values = {
            "harness.trial_id": self.trial_id,
            "harness.status": self.status,
            "harness.kind": self.kind,
            "harness.fingerprint": self.fingerprint,
            "harness.error": self.error or "",
            "harness.run_id": self.run.run_id if self.run else "",
            "harness.git_commit": self.run.git_commit if self.run else "",
        }
        return {key: value for key, value in values.items() if value}

    @property
    def finals(self) -> dict[str, float]:
        """Final numbers by ``split/metric``."""
        return {f"{score.split}/{score.metric}": score.value for score in self.results if score.value is not None}

    def curves(self) -> Iterator[tuple[str, list[TrackedPoint]]]:
        """Every series by ``split/name``, in the order of its steps."""
        for curve in self.series:
            steps = curve.step or list(range(len(curve.value)))
            seconds = curve.elapsed_seconds or [0.0] * len(curve.value)
            points = [
                TrackedPoint(int(step), float(value), self.began + float(after or 0.0))
                for step, value, after in zip(steps, curve.value, seconds, strict=True)
                if value is not None
            ]
            yield "/".join(filter(None, (curve.split, curve.name))), points

    @property
    def last_step(self) -> int:
        return max((int(step) for curve in self.series for step in curve.step), default=0)


def kind_of(arm: str, own: Collection[str]) -> str:
    """The kind of an arm's trials; ``own`` are the suite's arms."""
    if arm in own:
        return Protocol.PUBLISHED.value
    if re.search(r"#\d+$", arm):
        return POINT
    if arm.startswith("prerequisite:"):
        return PREREQUISITE
    return Protocol.TUNED.value if arm.endswith("-tuned") else "rates"


def tracked_trials(reader: Queries, wanted: ResultFilter) -> Iterator[TrackedTrial]:
    """The current trials that have ended, with their curves; ``metric`` and ``split`` keep the numbers of that name.

    Raises:
        HarnessError: the filter names what is not stored.
    """
    trials = [trial for trial in cell_trials(reader, wanted) if trial.status in _ENDED]
    runs = stored_runs(reader, [trial.run_id for trial in trials])
    for trial in trials:
        yield _stored(reader, trial, runs.get(trial.run_id), wanted)


def _stored(reader: Queries, trial: ConfigurationTrial, run: StoredRun | None, wanted: ResultFilter) -> TrackedTrial:
    named = {"trial": trial.trial_id, "split": wanted.split, "metric": wanted.metric}
    kept = "trial_id = $trial AND ($split IS NULL OR split = $split) AND ($metric IS NULL OR {} = $metric)"
    scores = reader.query(f"SELECT split, metric, value FROM results WHERE {kept.format('metric')} ORDER BY ALL", named)
    points = reader.query(
        f"SELECT split, name, step, epoch, value, elapsed_seconds FROM metrics WHERE {kept.format('name')} "
        "ORDER BY split, name, step, elapsed_seconds",
        named,
    ).rows
    series: dict[tuple[str, str], MetricSeries] = {}
    for split, name, step, epoch, value, seconds in points:
        curve = series.setdefault((split, name), MetricSeries(split, name))
        for column, entry in ((curve.step, step), (curve.epoch, epoch), (curve.elapsed_seconds, seconds)):
            column.append(0 if entry is None else entry)
        curve.value.append(value)
    row = reader.trial(trial.trial_id) or {}
    return TrackedTrial(
        trial.suite,
        trial.scale,
        trial.benchmark,
        trial.arm,
        trial.protocol,
        trial.seed,
        trial.trial_id,
        trial.status,
        row.get("started_at"),
        row.get("wall_seconds"),
        row.get("error"),
        row.get("spec") or {},
        tuple(Score(*score) for score in scores.rows),
        tuple(series.values()),
        run,
        trial.fingerprint,
    )


def as_ended(suite: str, cell: tuple[str, str], kind: str, spec: TrialSpec, outcome: Outcome) -> TrackedTrial:
    """A trial of a cell (benchmark and arm) at its end."""
    began = None if outcome.started_at is None else datetime.fromisoformat(outcome.started_at)
    return TrackedTrial(
        suite,
        spec.scale,
        *cell,
        kind,
        spec.seed,
        outcome.trial_id,
        str(outcome.status),
        began,
        outcome.wall_seconds,
        outcome.error,
        spec.to_json(),
        outcome.results,
        outcome.series,
    )
