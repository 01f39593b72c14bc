"""A paper's table of one metric: benchmarks as rows, arms as columns; made of one plan."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from harness.results.current import (
    BESIDE,
    ConfigurationTrial,
    CurrentResult,
    MetricFacts,
    ResultFilter,
    StoredRun,
    cell_trials,
    current_results,
    metric_facts,
    stored_runs,
)
from harness.store.queries import Queries
from harness.vocabulary import UNFINISHED, Protocol, Role, Split, Status

SHOWN = (Protocol.PUBLISHED, Protocol.TUNED)
"""Protocols that have a table; points of the learning-rate sensitivity are not arms of a paper."""
ABLATIONS, EVERY = "ablations", "every"
_LOST = frozenset({Status.DIVERGED, *UNFINISHED})


@dataclass(frozen=True, slots=True)
class TableCell:
    """An arm on a benchmark: mean and standard deviation (None of one seed) over ``n`` seeds.

    Attributes:
        lost: trials that diverged or failed.
        best: whether no mean of the row is better.
    """

    mean: float
    sd: float | None
    n: int
    lost: int = 0
    best: bool = False


@dataclass(frozen=True, slots=True)
class TableRow:
    """A benchmark, or several that share their trials; cells by arm."""

    benchmarks: tuple[str, ...]
    cells: Mapping[str, TableCell]


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One metric of one suite at one scale under one protocol.

    Attributes:
        part: ``ablations`` where these have a separate table; ``every`` where the arms were
            chosen; else empty.
        arms: the columns, in the order of the suite.
        runs: those that requested the trials, the newest first.
        stand_ins: what the rows were measured on, where that is not the paper's setting.
        left_out: sentences about arms that another plan measured.
    """

    suite: str
    scale: str
    protocol: str
    split: str
    metric: MetricFacts
    part: str
    arms: tuple[str, ...]
    rows: tuple[TableRow, ...]
    runs: tuple[StoredRun, ...]
    stand_ins: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def cells(self) -> list[TableCell]:
        return [cell for row in self.rows for cell in row.cells.values()]


def paper_tables(reader: Queries, wanted: ResultFilter) -> list[PaperTable]:
    """One table for each suite, scale, metric and protocol of a filter.

    Without ``metric``: those that the suite's benchmarks declare, else all but mechanisms and dummy baselines.
    Without ``split``: test.

    Raises:
        HarnessError: the filter names what is not stored.
    """
    wanted = replace(wanted, split=wanted.split or Split.TEST.value)
    results, trials = current_results(reader, wanted), cell_trials(reader, wanted)
    runs = stored_runs(reader, [trial.run_id for trial in trials])
    tables = []
    for place in sorted(set(map(_place, results))):
        if place[2] in SHOWN:
            here = [result for result in results if _place(result) == place]
            requested = [trial for trial in trials if _place(trial) == place]
            gathered = _CellScores(reader, here, requested, runs)
            for metric in gathered.metrics(wanted.metric):
                parts = (EVERY,) if wanted.arms else ("", ABLATIONS)
                tables += [table for part in parts if (table := gathered.table(metric, part)) is not None]
    return tables


def _place(trial: CurrentResult | ConfigurationTrial) -> tuple[str, str, str]:
    return trial.suite, trial.scale, trial.protocol


@dataclass(slots=True)
class _CellScores:
    """The results and trials of one suite, scale and protocol."""

    reader: Queries
    results: list[CurrentResult]
    trials: list[ConfigurationTrial]
    runs: Mapping[str, StoredRun]
    left_out: list[str] = field(default_factory=list)
    roles: Mapping[str, str] = field(init=False)
    ablated: Set[str] = field(init=False)

    def __post_init__(self) -> None:
        cells = {(score.benchmark, score.arm): score.run_id for score in self.results}  # others decide nothing
        kept = set(_of_one_plan(cells, self.runs, self.left_out))
        self.trials = [trial for trial in self.trials if (trial.benchmark, trial.arm) in kept]
        self.results = [result for result in self.results if (result.benchmark, result.arm) in kept]
        runs = reversed(self.newest_first())
        self.roles = {name: role for run in runs for name, role in run.roles.items()}
        self.ablated = {score.benchmark for score in self.results if self.roles.get(score.arm) == Role.ABLATION}

    @property
    def first(self) -> CurrentResult:
        return self.results[0]

    def newest_first(self) -> list[StoredRun]:
        """The runs whose trials are shown, the newest first."""
        used = {trial.run_id for trial in self.trials} & self.runs.keys()
        return sorted((self.runs[run] for run in used), key=lambda run: (run.started_at, run.run_id), reverse=True)

    def metrics(self, requested: str | None) -> list[MetricFacts]:
        """The metrics that have a table."""
        facts = metric_facts(self.reader, self.first.suite, self.newest_first())
        stored = sorted({result.metric for result in self.results})
        if requested is not None:
            return [facts.get(requested, MetricFacts(requested))] if requested in stored else []
        declared = [name for name in stored if name in facts]
        names = declared or [name for name in stored if not name.startswith(BESIDE)]
        return [facts.get(name, MetricFacts(name)) for name in names]

    def table(self, metric: MetricFacts, part: str) -> PaperTable | None:
        """The table of a metric, or of its ablations; None where no cell has it."""
        values: dict[str, dict[str, list[CurrentResult]]] = {}
        for result in self.results:
            if result.metric == metric.name and self._stands(part, result):
                arm = _plain(result.arm, result.protocol)
                values.setdefault(result.benchmark, {}).setdefault(arm, []).append(result)
        runs = self.newest_first()
        order = _order(runs)
        rows: dict[frozenset[tuple[str, str]], TableRow] = {}
        for benchmark in sorted(values, key=order.benchmark):
            here = {arm: values[benchmark][arm] for arm in sorted(values[benchmark], key=order.arm)}
            same = frozenset((arm, result.trial_id) for arm, results in here.items() for result in results)
            if same in rows:  # one stand-in serves several benchmarks: one row
                rows[same] = replace(rows[same], benchmarks=(*rows[same].benchmarks, benchmark))
                continue
            by_arm = {arm: self._cell(results) for arm, results in here.items()}
            cells = {arm: cell for arm, cell in by_arm.items() if cell is not None}
            if cells:
                rows[same] = TableRow((benchmark,), _with_best(cells, metric.better))
        shown = {arm for row in rows.values() for arm in row.cells}
        if not shown:
            return None
        names = [name for row in rows.values() for name in row.benchmarks]
        return PaperTable(
            self.first.suite,
            self.first.scale,
            self.first.protocol,
            self.first.split,
            metric,
            part,
            tuple(sorted(shown, key=order.arm)),
            tuple(rows.values()),
            tuple(runs),
            _stand_ins(runs, names),
            tuple(self.left_out),
        )

    def _stands(self, part: str, result: CurrentResult) -> bool:
        """True where a result belongs to a part: ablations with methods, or all others."""
        role = self.roles.get(_plain(result.arm, result.protocol))
        if part == ABLATIONS:
            return result.benchmark in self.ablated and role in (Role.METHOD, Role.ABLATION)
        return role != Role.ABLATION or part == EVERY

    def _cell(self, results: Sequence[CurrentResult]) -> TableCell | None:
        """A cell of the finite values; None without any."""
        finite = [result.value for result in results if result.value is not None and math.isfinite(result.value)]
        if not finite:
            return None
        cell = (results[0].benchmark, results[0].arm)
        lost = sum(trial.status in _LOST for trial in self.trials if (trial.benchmark, trial.arm) == cell)
        lost += len(results) - len(finite)
        sd = statistics.stdev(finite) if len(finite) > 1 else None
        return TableCell(statistics.fmean(finite), sd, len(finite), lost)


def _plain(arm: str, protocol: str) -> str:
    """The arm's own name: under the tuned protocol it runs as ``ARM-tuned``."""
    return arm.removesuffix("-tuned") if protocol == Protocol.TUNED else arm


def _with_best(cells: Mapping[str, TableCell], better: str) -> dict[str, TableCell]:
    """The cells with the best ones marked; none where the direction is unknown."""
    if better not in ("higher", "lower") or len(cells) < 2:
        return dict(cells)
    best = (max if better == "higher" else min)(cell.mean for cell in cells.values())
    return {arm: replace(cell, best=cell.mean == best) for arm, cell in cells.items()}


@dataclass(frozen=True, slots=True)
class _Order:
    """Places of names in the suite's file; those that it does not have come last."""

    arms: Mapping[str, int]
    benchmarks: Mapping[str, int]

    def arm(self, name: str) -> tuple[int, str]:
        return self.arms.get(name, len(self.arms)), name

    def benchmark(self, name: str) -> tuple[int, str]:
        return self.benchmarks.get(name, len(self.benchmarks)), name


def _order(runs: Sequence[StoredRun]) -> _Order:
    arms = dict.fromkeys(name for run in runs for name in run.roles)
    benchmarks = dict.fromkeys(name for run in runs for name in run.benchmarks)
    return _Order({name: at for at, name in enumerate(arms)}, {name: at for at, name in enumerate(benchmarks)})


def _stand_ins(runs: Sequence[StoredRun], benchmarks: Iterable[str]) -> tuple[str, ...]:
    """The stand-ins that the benchmarks were measured on."""
    named = []
    for name in benchmarks:
        facts = next((run.benchmarks[name] for run in runs if name in run.benchmarks), {})
        changed = ", ".join(facts.get("stand_in") or ())  # older runs have no name of it
        named.append(str(facts.get("stand_in_name") or (changed and f"not the paper's {changed}")))
    return tuple(dict.fromkeys(filter(None, named)))


def _of_one_plan(
    cells: Mapping[tuple[str, str], str], runs: Mapping[str, StoredRun], left_out: list[str]
) -> Iterator[tuple[str, str]]:
    """The cells (benchmark, arm) that are comparable, of all with their runs.

    On a benchmark these are those of the newest run, and of older ones that measured it by the same data, model, recipe
    and ``--set``; sentences about the others go to ``left_out``.
    """
    reasons: dict[tuple[str, str], list[str]] = {}
    for benchmark in dict.fromkeys(name for name, _ in cells):
        here = {arm: run for (name, arm), run in cells.items() if name == benchmark}
        newest = max(here.values(), key=lambda run: (runs[run].started_at, run))
        for arm, run in here.items():
            why = _other_plan(runs[newest], runs[run], benchmark)
            if why:
                reasons.setdefault((run, why), []).append(f"{arm} on {benchmark}")
            else:
                yield benchmark, arm
    for (run, why), places in reasons.items():
        shown = ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")
        left_out.append(f"{shown}: measured by run {run}, {why}; --run {run} shows it")


def _other_plan(newest: StoredRun, run: StoredRun, benchmark: str) -> str:
    """The difference of a run's plan from the newest; '' if comparable."""
    if run.run_id == newest.run_id:
        return ""
    if run.overrides != newest.overrides:
        return f"with --set {run.changed}" if run.overrides else f"without --set {newest.changed}"
    own, other = run.benchmarks.get(benchmark) or {}, newest.benchmarks.get(benchmark) or {}
    differing = [key for key in ("data", "model", "recipe") if own.get(key) != other.get(key)]
    return f"by another {' and '.join(differing)}" if differing else ""
