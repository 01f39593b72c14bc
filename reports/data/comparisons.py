"""Comparisons beyond single claims: wins and losses, removals, costs, dose and gain."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.judge.detail import MeasuredComparison
from harness.stats import paired_t
from harness.store import Reader
from harness.vocabulary import Split, Tone
from reports import formatting
from reports.data import sql
from reports.data.ablations import Ablation, ArmComparison
from reports.data.claims import JudgedClaim
from reports.data.sql import Row
from reports.data.suite_results import BenchmarkResults, SuiteResults

INTERVENTIONS = 4
SIDES = {Tone.HOLDS: "ahead", Tone.AGAINST: "behind", Tone.OPEN: "not clear"}
"""Where the interval lies, the claim's direction being ahead."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkComparison(ArmComparison):
    """A claim's comparison on one benchmark: its interval, and on which side of zero that lies."""

    claim: JudgedClaim
    bench: BenchmarkResults

    @property
    def side(self) -> str:
        """On which side of zero the interval lies, in a word."""
        return SIDES[formatting.side(self.low, self.high)]


def _by_benchmark(results: SuiteResults) -> Iterator[tuple[JudgedClaim, BenchmarkResults, MeasuredComparison]]:
    """Each judged claim with its measured comparisons on each planned benchmark."""
    for claim in results.judged:
        for entry in claim.detail.per_benchmark if claim.compared else ():
            if (bench := results.benches.get(entry.benchmark)) is not None:
                yield claim, bench, entry


def wins(results: SuiteResults) -> tuple[Sequence[BenchmarkComparison], Sequence[tuple[str, str, Sequence[int]]]]:
    """Every comparison by benchmark, and where a task has several (task, comparison, how often each side).

    Nothing with one benchmark only.
    """
    cells: dict[tuple[str, str], BenchmarkComparison] = {}
    for claim, bench, entry in _by_benchmark(results):
        if entry.difference is not None:
            label = f"{entry.arm} against {entry.against}" if entry.arm and entry.against else claim.contrast
            row = BenchmarkComparison(
                label=label,
                unit=claim.unit,
                n=entry.n,
                difference=entry.difference,
                low=entry.low,
                high=entry.high,
                claim=claim,
                bench=bench,
            )
            cells.setdefault((bench.name, label), row)
    if len({place for place, _ in cells}) < 2:
        return [], []
    sides: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in cells.values():
        sides[row.bench.setting.task, row.label].append(row.side)
    tallies = [(*key, [own.count(side) for side in SIDES.values()]) for key, own in sides.items() if len(own) > 1]
    return list(cells.values()), tallies


def removals(claim: JudgedClaim, rows: Sequence[Ablation]) -> list[Ablation]:
    """Gain under changes of both arms, then of its own arm alone (a cause's removal takes it)."""
    here = [row for row in rows if row.benchmark in claim.benchmarks]
    own = {(row.benchmark, row.changed): row for row in here if row.parent == claim.arm}
    theirs = {(row.benchmark, row.changed): row for row in here if row.parent == claim.against}
    shared = [key for key in own if key in theirs and not claim.detail.pairing.log_ratio]
    left = [row for key in shared if (row := _gain_left(claim, own[key], theirs[key])) is not None]
    alone = sorted(own.values(), key=lambda row: -abs(row.difference))[:INTERVENTIONS]
    return sorted(left, key=lambda row: row.label) + alone


def _gain_left(claim: JudgedClaim, own: Ablation, other: Ablation) -> Ablation | None:
    """The remaining gain with its paired t interval; None for another metric."""
    if own.metric != claim.metric:
        return None
    entry = next((entry for entry in claim.on(own.benchmark) if entry.against in (None, claim.against)), None)
    gains = {} if entry is None else entry.differences
    better = -1 if claim.fact.get("better") == "lower" else 1
    sign = claim.detail.estimand.direction * better  # ablations: up is better
    values = [
        gain + sign * (own.seeds[seed] - other.seeds[seed])
        for seed, gain in gains.items()
        if math.isfinite(gain) and seed in own.seeds and seed in other.seeds
    ]
    if len(values) < 2:
        return None
    test = paired_t(values)
    return replace(
        own,
        label=f"{own.arm} − {other.arm}",
        n=test.n,
        difference=test.estimate,
        low=test.low,
        high=test.high,
        seeds={},
        of_gain=True,
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """Costs of a comparison on a benchmark: each arm's, and its ratio to the comparator's."""

    bench: BenchmarkResults
    claim: JudgedClaim
    step_ms: tuple[float | None, float | None]
    memory_mb: tuple[float | None, float | None]
    joules: tuple[float | None, float | None]
    gain: MeasuredComparison


def costs(reader: Reader, results: SuiteResults) -> tuple[list[Cost], str]:
    """Costs of comparisons whose arms ran alone, and their statement."""
    requested = sql.ask(reader, sql.costs_of(sql.together(results.bodies), "benchmark, arm"))
    existing = {(row["benchmark"], row["arm"]): row for row in requested.rows}
    rows: dict[tuple[str, str], Cost] = {}
    for claim, bench, entry in _by_benchmark(results):
        ours, theirs = (existing.get((bench.name, arm)) for arm in (claim.arm, claim.against))
        if ours is not None and theirs is not None:
            step, memory, joules = (_beside(ours, theirs, key) for key in ("step_ms", "peak_memory_mb", "joules"))
            rows.setdefault((bench.name, claim.contrast), Cost(bench, claim, step, memory, joules, entry))
    return list(rows.values()), requested.sql


def _beside(ours: Row, theirs: Row, key: str) -> tuple[float | None, float | None]:
    """An arm's cost, and its ratio to that of the comparator."""
    own, other = formatting.finite(ours.get(key)), formatting.finite(theirs.get(key))
    return own, own / other if own is not None and other else None


Scores = Mapping[tuple[str, int], float]
"""Values by (arm, seed)."""


def scores_by(rows: Sequence[Row], *columns: str) -> dict[Any, Scores]:
    """The finite values among final numbers, by the values of some columns."""
    existing = [row for row in rows if formatting.finite(row["value"]) is not None]
    return {
        key: {(row["arm"], row["seed"]): row["value"] for row in own}
        for key, own in sql.grouped(existing, *columns).items()
    }


FinalNumbers = Mapping[tuple[str, str, str], Scores]
"""By (benchmark, split, metric)."""


@dataclass(frozen=True, slots=True)
class DoseAndGain:
    """Doses of a mechanism and gains of a claim: (arm, dose, gain over the comparator at the same seed)."""

    metric: str
    points: Sequence[tuple[str, float, float]]
    sql: str


def final_numbers(reader: Reader, results: SuiteResults) -> FinalNumbers:
    """Final numbers of claims with mechanism checks and of the checks' metrics."""
    gated = [claim for claim in results.judged if claim.gates]
    names = sorted({gate.rule.metric for claim in gated for gate in claim.gates} | {c.metric for c in gated})
    if not names or not results.benches:
        return {}
    rows = sql.ask(reader, sql.metrics_of(sql.together(results.bodies), names)).rows
    return scores_by(rows, "benchmark", "split", "metric")


def dose_and_gain(results: SuiteResults, numbers: FinalNumbers, claim: JudgedClaim) -> DoseAndGain | None:
    """Doses and gains over the comparator on a claim's first benchmark; None below three different doses."""
    if not claim.gates or not claim.benchmarks or claim.benchmarks[0] not in results.benches:
        return None
    bench, gate = results.benches[claim.benchmarks[0]], claim.gates[0].rule
    about = bench.metrics.get(claim.metric)

    def of(metric: str, *splits: str) -> Scores:
        return next((scores for split in splits if (scores := numbers.get((bench.name, split, metric)))), {})

    every = (Split.TEST, Split.TRAIN, Split.VALIDATION)
    scores, doses = of(claim.metric, *([about.split] if about else every)), of(gate.metric, *every)
    points = []
    for (arm, seed), score in scores.items():
        base = scores.get((claim.against, seed))
        # A quantity that one arm alone has, such as the teacher's lead, is the dose of all arms of a seed.
        dose = doses.get((arm, seed), doses.get((gate.arm, seed)))
        if arm != claim.against and base is not None and dose is not None:
            points.append((arm, dose, claim.detail.estimand.direction * (score - base)))
    if len({dose for _, dose, _ in points}) < 3:
        return None
    statement = sql.metrics_of(bench.body, [gate.metric, claim.metric])
    return DoseAndGain(gate.metric.removeprefix("mechanism."), points, statement)
