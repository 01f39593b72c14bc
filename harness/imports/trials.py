"""Trials of a suite from external runs, by benchmark, arm and seed."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.base.values import name_of, names_in
from harness.data.checksums import sha256_of
from harness.errors import HarnessError, choices
from harness.imports.foreign import ForeignRun, ForeignSource
from harness.imports.mapping import ImportMap, MetricFrom, first_names
from harness.imports.naming import Filed, ImportTarget, Naming
from harness.imports.resampling import pairing_ratio
from harness.imports.result_files import column_called, number_in
from harness.imports.table_scores import VALUES
from harness.judge.fairness import are_shares
from harness.suite import Suite
from harness.trial.result import MetricSeries, Score
from harness.vocabulary import Status

Configuration = tuple[str, str, int]
"""Benchmark, arm, seed."""
Number = tuple[str, str]
"""Split, metric."""
MECHANISM = "mechanism."


@dataclass(frozen=True, slots=True)
class ImportedTrial:
    """A trial made of external results; ``place`` is that of its first number."""

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
    """A source as trials; ``mapping`` is resolved, ``left_out`` counts runs or rows that it skips."""

    trials: Sequence[ImportedTrial]
    mapping: ImportMap
    left_out: int


@dataclass(slots=True)
class _Gathered:
    """Numbers of a trial by step, each with its place; ``ended``: why it counts as failed."""

    place: str
    numbers: dict[Number, dict[int | None, tuple[float, str]]] = field(default_factory=lambda: defaultdict(dict))
    ended: str = ""

    def final(self, number: Number) -> float | None:
        """The value without a step, else that of the last step."""
        points = self.numbers.get(number)
        if not points:
            return None
        return points[max(points, key=lambda step: math.inf if step is None else step)][0]

    def series(self) -> Iterator[MetricSeries]:
        """Each number with two steps or more."""
        for (split, metric), points in sorted(self.numbers.items()):
            steps = sorted(step for step in points if step is not None)
            if len(steps) > 1:
                yield MetricSeries(split, metric, step=steps, value=[points[step][0] for step in steps])


def trials_of(source: ForeignSource, import_map: ImportMap, target: ImportTarget) -> Matched:
    """The trials of a source.

    Raises:
        HarnessError: an unknown name, an invalid number, a duplicate result, or a percentage
            that looks like a share.
    """
    naming = Naming(source, import_map, target)
    metrics = _Metrics(source, import_map, naming)
    gathered: dict[Configuration, _Gathered] = {}
    left_out = len(source.runs) - len(naming.runs)
    for run in naming.runs:
        filed = naming.filed(run)
        if filed is None:
            left_out += 1
            continue
        entry = gathered.setdefault((filed.benchmark, filed.arm, filed.seed), _Gathered(run.place))
        entry.ended = entry.ended or (f"the run {run.ended} ({run.place})" if run.ended else "")
        metrics.gather(entry, run, filed)
    naming.refuse_unknown()
    if not gathered:
        raise HarnessError(f"{source.path}: the mapping leaves out every result")
    metrics.check(gathered)
    mapping = ImportMap(
        **naming.words,
        metric=metrics.name_column,
        value=metrics.value_column,
        metrics={name: metrics.meanings[name] for name in sorted(metrics.used)},
        patterns=import_map.patterns,
        where=import_map.where,
        table=source.part or None,
        resampled=_resampled(source, naming, gathered, import_map) or None,
        independent=import_map.independent,
    )
    plain = mapping.model_dump(exclude_defaults=True)
    trials = []
    for (benchmark, arm, seed), entry in sorted(gathered.items()):
        content = {
            "source": source.sha256,
            "mapping": plain,
            "suite": target.suite.name,
            "benchmark": benchmark,
            "arm": arm,
            "seed": seed,
            "scale": target.scale,
        }
        results = tuple(Score(split, metric, entry.final((split, metric))) for split, metric in sorted(entry.numbers))
        error = entry.ended or _without_score(target.suite, benchmark, arm, entry) or None
        status = Status.FAILED if error else Status.DONE
        series = tuple(entry.series())
        trial_id = sha256_of(content)
        trials.append(ImportedTrial(trial_id, benchmark, arm, seed, status, error, results, series, entry.place))
    return Matched(trials, mapping, left_out)


def _resampled(
    source: ForeignSource, naming: Naming, gathered: Collection[Configuration], import_map: ImportMap
) -> float:
    """n_test/n_train of the seeds; 0 if they are independent."""
    seeds: dict[str, list[str]] = defaultdict(list)
    for benchmark, _, seed in gathered:
        seeds[benchmark].append(str(seed))
    columns = {naming.seed_name: list(seeds.values())}
    return pairing_ratio(str(source.path), columns, import_map.resampled, independent=import_map.independent)


class _Metrics:
    """The metrics of a source's numbers: ``meanings`` by the number's name, ``used`` names that occurred."""

    def __init__(self, source: ForeignSource, import_map: ImportMap, naming: Naming) -> None:
        self.source, self.suite = source, naming.target.suite
        self.name_column, self.value_column = import_map.metric, import_map.value
        self.declared = {name: self.suite.benchmarks[name].model.metrics for name in naming.target.settings}
        ours = {metric for metrics in self.declared.values() for metric in metrics}
        for column in filter(None, (import_map.metric, import_map.value)):
            source.must_have(column, "column")
        if import_map.metric is None and source.rows and not (ours | set(import_map.metrics)) & set(source.fields):
            names, values = column_called(source.fields, ("metric",)), column_called(source.fields, VALUES)
            if names is not None and values is not None:  # a table with one row a number
                self.name_column, self.value_column = names, values
        self.names = source.numbers
        if self.name_column is not None:
            self.names = [name for name in names_in(run.fields.get(self.name_column) for run in naming.runs) if name]
        for theirs, meaning in import_map.metrics.items():
            if theirs not in self.names:
                raise HarnessError(f"{source.path} has no number '{theirs}'; {choices(self.names, theirs)}")
            if meaning.metric not in ours and not meaning.metric.startswith(MECHANISM):
                message = f"no benchmark of '{self.suite.name}' has the metric '{meaning.metric}'"
                raise HarnessError(f"{message}; {choices(ours, meaning.metric)}")
        free = ours - {meaning.metric for meaning in import_map.metrics.values()}
        self.meanings = {name: MetricFrom(metric=name) for name in self.names if name in free} | import_map.metrics
        self.used: set[str] = set()

    def gather(self, entry: _Gathered, run: ForeignRun, filed: Filed) -> None:
        for theirs, step, value in self._numbers(run, filed):
            meaning = self.meanings[theirs]
            self.used.add(theirs)
            declared = self.declared[filed.benchmark].get(meaning.metric)
            split = meaning.split or filed.split or (declared.split if declared is not None else "test")
            points = entry.numbers[split, meaning.metric]
            if step in points:
                at = "" if step is None else f" at step {step}"
                raise HarnessError(
                    f"{run.place}: a second {meaning.metric} of {filed.arm} on {filed.benchmark} ({split}) for seed "
                    f"{filed.seed}{at}, after {points[step][1]}; take one of them with --where, or say what tells them "
                    "apart (--split-column, --step-column, --benchmark-column)"
                )
            points[step] = (value * (1.0 if meaning.times is None else meaning.times), run.place)

    def _numbers(self, run: ForeignRun, filed: Filed) -> Iterator[tuple[str, int | None, float]]:
        theirs = [
            name
            for name, meaning in self.meanings.items()
            if meaning.metric in self.declared[filed.benchmark] or meaning.metric.startswith(MECHANISM)
        ]
        if not self.source.rows:
            for name in theirs:
                yield from ((name, step, value) for step, value in run.series.get(name, ()))
            return
        columns = {name: name for name in theirs}
        if self.name_column is not None and self.value_column is not None:
            named = name_of(run.fields.get(self.name_column))
            columns = {named: self.value_column} if named in theirs else {}
        for name, column in columns.items():
            cell = run.fields.get(column)
            if filed.step is None or name_of(cell):  # a table of curves lacks some numbers at most steps
                yield name, filed.step, number_in(cell, run.place, column)

    def check(self, gathered: Mapping[Configuration, _Gathered]) -> None:
        """Refuse a source without a metric, and shares in place of percentages."""
        benchmarks = dict.fromkeys(name for name, _, _ in gathered)
        if not self.used:
            wanted = "; ".join(f"{name}: {', '.join(self.declared[name])}" for name in benchmarks)
            raise HarnessError(
                f"{self.source.path}: none of its numbers has the name of a metric of the benchmarks ({wanted}); map "
                f"one with --metric THEIRS=OURS. There are: {first_names(sorted(self.names))}"
            )
        scaled = {meaning.metric for meaning in self.meanings.values() if meaning.times is not None}
        for benchmark in benchmarks:
            for name, metric in self.declared[benchmark].items():
                if metric.unit.lower() != "percent" or metric.better != "higher" or name in scaled:
                    continue
                finals = [entry.final((metric.split, name)) for key, entry in gathered.items() if key[0] == benchmark]
                finite = [value for value in finals if value is not None and math.isfinite(value)]
                if finite and are_shares(finite):
                    theirs = next(their for their, meaning in self.meanings.items() if meaning.metric == name)
                    raise HarnessError(
                        f"{self.source.path}: {name} is in percent (0 to 100) on '{benchmark}', and every score lies "
                        f"in [0, 1]; say --metric '{theirs}={name}*100' for shares (or '*1' if they are percent)"
                    )


def _without_score(suite: Suite, benchmark: str, arm: str, entry: _Gathered) -> str:
    """The reason why a trial has no score for its claims; '' where it has one."""
    metrics, reasons = suite.benchmarks[benchmark].model.metrics, []
    for name in claim_metrics(suite, benchmark, arm):
        split = metrics[name].split
        value = entry.final((split, name))
        if value is not None and math.isfinite(value):
            return ""
        shown = "missing" if value is None else "empty or NaN" if math.isnan(value) else f"{value:g}"
        reasons.append(f"{name} on {split} is {shown}")
    return f"{', '.join(reasons)} ({entry.place})"


def claim_metrics(suite: Suite, benchmark: str, arm: str) -> list[str]:
    """The metrics by which claims judge an arm on a benchmark; without claims all of the benchmark's."""
    metrics = suite.benchmarks[benchmark].model.metrics
    judged = [
        binding.metric or suite.facts[binding.id].metric
        for binding in suite.model.claims
        if benchmark in binding.benchmarks
        and arm in (binding.arm, *binding.against, *binding.baselines, *binding.shown)
    ]
    return [name for name in dict.fromkeys(judged) if name in metrics] or list(metrics)
