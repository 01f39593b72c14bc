"""Trials of a suite from external runs, by benchmark, arm and seed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.base.values import name_of
from harness.data.checksums import sha256_of
from harness.errors import HarnessError, choices
from harness.imports.foreign import ForeignRun, ForeignSource
from harness.imports.mapping import ImportMap, MetricFrom, ResolvedMap, ResolvedMetric, fields_told
from harness.imports.naming import Filed, ImportTarget, Naming, Unknown, kept
from harness.imports.result_files import score_of
from harness.judge.fairness import are_shares
from harness.suite import Suite
from harness.trial.result import MetricSeries, Score
from harness.vocabulary import Status

Cell = tuple[str, str, int]
"""Benchmark, arm, seed."""
Number = tuple[str, str]
"""Split, metric."""


@dataclass(frozen=True, slots=True)
class ImportedTrial:
    """A trial made of external results; ``place`` is where its first number stands."""

    trial_id: str
    benchmark: str
    arm: str
    seed: int
    status: Status
    error: str | None
    results: tuple[Score, ...]
    series: tuple[MetricSeries, ...]
    place: str


@dataclass(frozen=True, slots=True)
class Matched:
    """A source as trials.

    Attributes:
        mapping: what was resolved, as plain data.
        left_out: how many runs or rows the mapping leaves out.
        notes: what the reader should know, a sentence each.
    """

    trials: Sequence[ImportedTrial]
    mapping: ResolvedMap
    left_out: int
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Gathered:
    """The numbers of a trial by step, each with where it stands; ``ended`` says why it counts as failed."""

    place: str
    numbers: dict[Number, dict[int | None, tuple[float, str]]] = field(default_factory=lambda: defaultdict(dict))
    ended: str = ""

    def final(self, number: Number) -> float | None:
        """The value without a step, else that of the last step."""
        points = self.numbers.get(number)
        if not points:
            return None
        last = None if None in points else max(step for step in points if step is not None)
        return points[last][0]


def trials_of(source: ForeignSource, import_map: ImportMap, target: ImportTarget) -> Matched:
    """The trials of a source.

    Raises:
        HarnessError: an unknown name, an invalid number, a duplicate result, or a percentage
            that looks like a share.
    """
    for name in import_map.where:
        if name not in source.fields:
            raise HarnessError(f"{source.path} has no {source.field_word} '{name}'; {choices(source.fields, name)}")
    runs = kept(source, import_map.where)
    naming = Naming(source, import_map, target, runs)
    metrics = _Metrics(source, import_map, target, naming)
    unknown = Unknown(naming)
    gathered: dict[Cell, _Gathered] = {}
    left_out = len(source.runs) - len(runs)
    for run in runs:
        filed = naming.filed(run, unknown)
        if filed is None:
            left_out += 1
            continue
        cell = gathered.setdefault((filed.benchmark, filed.arm, filed.seed), _Gathered(run.place))
        cell.ended = cell.ended or (f"the run {run.ended} ({run.place})" if run.ended else "")
        _gather(cell, run, filed, metrics, target)
    unknown.refuse()
    if not gathered:
        raise HarnessError(f"{source.path}: the mapping leaves out every result")
    metrics.refuse_if_none(gathered)
    mapping = naming.plain() | metrics.plain()
    if source.part:
        mapping["table"] = source.part
    _check_shares(source, gathered, target, metrics)
    trials = [_trial(source, mapping, cell, entry, target) for cell, entry in sorted(gathered.items())]
    return Matched(trials, mapping, left_out, source.notes)


class _Metrics:
    """Which numbers are which metrics."""

    def __init__(self, source: ForeignSource, import_map: ImportMap, target: ImportTarget, naming: Naming) -> None:
        self.source, self.target = source, target
        self.name_column, self.value_column = import_map.metric, import_map.value
        models = {name: target.suite.benchmarks[name].model.metrics for name in target.settings}
        ours = {metric for metrics in models.values() for metric in metrics}
        self.models = models
        for column in filter(None, (import_map.metric, import_map.value)):
            if column not in source.fields:
                raise HarnessError(f"{source.path} has no column '{column}'; {choices(source.fields, column)}")
        if import_map.metric is None and source.rows:
            self._find_long(ours | set(import_map.metrics), import_map)
        there = self._names(naming.runs)
        for theirs, meaning in import_map.metrics.items():
            if theirs not in there:
                raise HarnessError(f"{source.path} has no number '{theirs}'; {choices(sorted(there), theirs)}")
            if meaning.metric not in ours and not meaning.metric.startswith("mechanism."):
                message = f"no benchmark of '{target.suite.name}' has the metric '{meaning.metric}'"
                raise HarnessError(f"{message}; {choices(ours, meaning.metric)}")
        named = {meaning.metric for meaning in import_map.metrics.values()}
        self.taken = {**{name: MetricFrom(metric=name) for name in there if name in ours - named}, **import_map.metrics}
        self.used: set[str] = set()

    def _find_long(self, wanted: set[str], import_map: ImportMap) -> None:
        """A table with one row a number: columns ``metric`` and ``value``, and no column called like a metric."""
        lowered = {name.lower(): name for name in self.source.fields}
        if wanted & set(self.source.fields) or "metric" not in lowered:
            return
        values = [lowered[name] for name in ("value", "score", "result") if name in lowered]
        if values:
            self.name_column, self.value_column = lowered["metric"], values[0]

    def _names(self, runs: Sequence[ForeignRun]) -> set[str]:
        if self.name_column is not None:
            return {name_of(run.fields.get(self.name_column)) for run in runs} - {""}
        return set(self.source.numbers)

    def of(self, run: ForeignRun, filed: Filed) -> Iterator[tuple[str, MetricFrom, int | None, float]]:
        """The numbers of a run that are metrics of its benchmark: their name, what it is, step and value."""
        for theirs, step, cell in self._cells(run, filed):
            meaning = self.taken[theirs]
            if meaning.metric not in self.models[filed.benchmark] and not meaning.metric.startswith("mechanism."):
                continue
            value = score_of(cell)
            if value is None:
                raise HarnessError(f"{run.place}: '{cell}' is not a number ('{theirs}')")
            self.used.add(theirs)
            yield theirs, meaning, step, value * (1.0 if meaning.times is None else meaning.times)

    def _cells(self, run: ForeignRun, filed: Filed) -> Iterator[tuple[str, int | None, Any]]:
        if not self.source.rows:
            for theirs in self.taken.keys() & run.series.keys():
                yield from ((theirs, step, value) for step, value in run.series[theirs])
        elif self.name_column is not None and self.value_column is not None:
            theirs = name_of(run.fields.get(self.name_column))
            if theirs in self.taken:
                yield theirs, filed.step, run.fields.get(self.value_column)
        else:
            for theirs in self.taken:
                cell = run.fields.get(theirs)
                if filed.step is None or name_of(cell):  # at most steps a table of curves has only some of the numbers
                    yield theirs, filed.step, cell

    def refuse_if_none(self, gathered: Mapping[Cell, _Gathered]) -> None:
        """Refuse a source in which nothing is called like a metric.

        Raises:
            HarnessError: with the names that there are on both sides.
        """
        if self.used:
            return
        benchmarks = dict.fromkeys(name for name, _, _ in gathered)
        wanted = "; ".join(f"{name}: {', '.join(self.models[name])}" for name in benchmarks)
        there = fields_told(sorted(self._names(self.source.runs)))
        raise HarnessError(
            f"{self.source.path}: none of its numbers is called like a metric of the benchmarks ({wanted}); say which "
            f"is which with --metric THEIRS=OURS. There are: {there}"
        )

    def plain(self) -> ResolvedMap:
        """The resolved metrics as plain data."""
        resolved: ResolvedMap = {}
        if self.name_column is not None and self.value_column is not None:
            resolved["metric"], resolved["value"] = self.name_column, self.value_column
        resolved["metrics"] = {name: _plain(self.taken[name]) for name in sorted(self.used)}
        return resolved


def _plain(meaning: MetricFrom) -> ResolvedMetric:
    metric: ResolvedMetric = {"metric": meaning.metric}
    if meaning.split is not None:
        metric["split"] = meaning.split
    if meaning.times is not None:
        metric["times"] = meaning.times
    return metric


def _gather(cell: _Gathered, run: ForeignRun, filed: Filed, metrics: _Metrics, target: ImportTarget) -> None:
    for _, meaning, step, value in metrics.of(run, filed):
        declared = target.suite.benchmarks[filed.benchmark].model.metrics.get(meaning.metric)
        split = meaning.split or filed.split or (declared.split if declared is not None else "test")
        points = cell.numbers[split, meaning.metric]
        if step in points:
            at = "" if step is None else f" at step {step}"
            what = f"a second {meaning.metric} of {filed.arm} on {filed.benchmark} ({split}) for seed {filed.seed}{at}"
            raise HarnessError(
                f"{run.place}: {what}, after {points[step][1]}; take one of them with --where, or say what tells them "
                "apart (--split-column, --step-column, --benchmark-column)"
            )
        points[step] = (value, run.place)


def claim_metrics(suite: Suite, benchmark: str, arm: str) -> list[str]:
    """The metrics by which claims judge an arm on a benchmark; all of the benchmark's where none does."""
    metrics, judged = suite.benchmarks[benchmark].model.metrics, []
    for binding in suite.model.claims:
        if benchmark in binding.benchmarks and arm in (
            binding.arm,
            *binding.against,
            *binding.baselines,
            *binding.shown,
        ):
            judged.append(binding.metric or suite.facts[binding.id].metric)
    return [name for name in dict.fromkeys(judged) if name in metrics] or list(metrics)


def _trial(
    source: ForeignSource, mapping: ResolvedMap, cell: Cell, entry: _Gathered, target: ImportTarget
) -> ImportedTrial:
    benchmark, arm, seed = cell
    results = tuple(Score(split, metric, entry.final((split, metric))) for split, metric in sorted(entry.numbers))
    series = tuple(filter(None, (_series(number, points) for number, points in sorted(entry.numbers.items()))))
    error = entry.ended or _without_score(entry, cell, target)
    content = {
        "source": source.sha256,
        "mapping": mapping,
        "suite": target.suite.name,
        "benchmark": benchmark,
        "arm": arm,
        "seed": seed,
        "scale": target.scale,
    }
    status = Status.FAILED if error else Status.DONE
    return ImportedTrial(sha256_of(content), benchmark, arm, seed, status, error or None, results, series, entry.place)


def _series(number: Number, points: Mapping[int | None, tuple[float, str]]) -> MetricSeries | None:
    """Two points and more are a series."""
    steps = sorted(step for step in points if step is not None)
    if len(steps) < 2:
        return None
    return MetricSeries(*number, step=steps, value=[points[step][0] for step in steps])


def _without_score(entry: _Gathered, cell: Cell, target: ImportTarget) -> str:
    """The reason why a trial has no score for its claims; '' where it has one."""
    benchmark, arm, _ = cell
    metrics, reasons = target.suite.benchmarks[benchmark].model.metrics, []
    for name in claim_metrics(target.suite, benchmark, arm):
        number = (metrics[name].split, name)
        value = entry.final(number)
        if value is not None and math.isfinite(value):
            return ""
        shown = "missing" if value is None else "empty or NaN" if math.isnan(value) else f"{value:g}"
        reasons.append(f"{name} on {number[0]} is {shown}")
    return f"{', '.join(reasons)} ({entry.place})"


def _check_shares(
    source: ForeignSource, gathered: Mapping[Cell, _Gathered], target: ImportTarget, metrics: _Metrics
) -> None:
    """Refuse percentages that all lie in [0, 1] without a factor."""
    scaled = {meaning.metric for meaning in metrics.taken.values() if meaning.times is not None}
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (benchmark, _, _), entry in gathered.items():
        for name, metric in target.suite.benchmarks[benchmark].model.metrics.items():
            value = entry.final((metric.split, name))
            if (
                metric.unit.lower() == "percent"
                and metric.better == "higher"
                and name not in scaled
                and value is not None
            ):
                scores[benchmark, name] += [value] * math.isfinite(value)
    for (benchmark, name), values in scores.items():
        if values and are_shares(values):
            theirs = next(their for their, meaning in metrics.taken.items() if meaning.metric == name)
            raise HarnessError(
                f"{source.path}: {name} is in percent (0 to 100) on '{benchmark}', and every score lies in [0, 1]; say "
                f"--metric '{theirs}={name}*100' for shares (or '*1' if they are percent)"
            )
