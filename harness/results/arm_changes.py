"""Changes of arms between two runs, paired by configuration and seed."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import stats
from harness.errors import HarnessError, choices
from harness.judge.pairs import seed_differences
from harness.results.current import BESIDE, MetricFacts, StoredRun, metric_facts
from harness.store.queries import Queries
from harness.vocabulary import UNFINISHED, Split, Status

_TRIALS = """SELECT c.benchmark, c.arm, c.seed, c.trial_id, c.spec_id, c.fingerprint, c.status, c.environment_id, t.spec
FROM cell_trials c JOIN trials t ON t.trial_id = c.trial_id WHERE c.run_id = ? ORDER BY c.benchmark, c.arm, c.seed"""
_LOST = frozenset({Status.DIVERGED, *UNFINISHED})
_NOWHERE = float("-inf")

Configuration = tuple[str, str]
"""Benchmark and arm."""


@dataclass(frozen=True, slots=True)
class RequestedTrial:
    """A requested trial of a configuration, whenever it ran."""

    trial_id: str
    spec_id: str
    fingerprint: str
    status: str
    environment_id: str
    spec: Mapping[str, Any] = field(repr=False)


RequestedTrials = Mapping[Configuration, Mapping[int, RequestedTrial]]
"""Trials of a run by configuration and seed, without points of sweeps."""


@dataclass(frozen=True, slots=True)
class ArmChange:
    """A configuration's final metric in each run, paired by seed.

    Attributes:
        first: mean over the first run's seeds; None without any.
        n: pairs; the difference is second − first over these, with its 95 % interval where there are two or more.
        lost: seeds that had a score in the first run and diverged or failed in the second.
        differences: of every pair, in the order of their seeds.
    """

    benchmark: str
    arm: str
    split: str
    metric: str
    unit: str
    better: str
    first: float | None
    second: float | None
    first_n: int
    second_n: int
    n: int
    difference: float | None
    low: float | None
    high: float | None
    lost: int = 0
    differences: tuple[float, ...] = ()

    def losses(self, better: str) -> tuple[float, float, float]:
        """Mean loss, lower end of its interval, smallest loss of a pair; −∞ if unknown."""
        sign = -1.0 if better == "higher" else 1.0
        mean = _NOWHERE if self.difference is None else sign * self.difference
        ends = (sign * end for end in (self.low, self.high) if end is not None)
        return mean, min(ends, default=_NOWHERE), min((sign * item for item in self.differences), default=_NOWHERE)


def requested_trials(reader: Queries, run_id: str) -> dict[Configuration, dict[int, RequestedTrial]]:
    """Return the trials of a run."""
    result: dict[Configuration, dict[int, RequestedTrial]] = {}
    for row in reader.query(_TRIALS, [run_id]).dicts():
        spec = row["spec"] if isinstance(row["spec"], Mapping) else {}
        result.setdefault((row["benchmark"], row["arm"]), {})[row["seed"]] = RequestedTrial(
            row["trial_id"],
            row["spec_id"] or "",
            row["fingerprint"] or "",
            row["status"] or "",
            row["environment_id"] or "",
            spec,
        )
    return result


def seed_pairs(
    left: RequestedTrials, right: RequestedTrials
) -> Iterator[tuple[Configuration, RequestedTrial, RequestedTrial]]:
    """Yield the trials of both runs at each configuration and seed."""
    for cell, trials in left.items():
        for seed, trial in trials.items():
            if (other := right.get(cell, {}).get(seed)) is not None:
                yield cell, trial, other


def arm_changes(
    reader: Queries,
    runs: Sequence[StoredRun],
    requested: tuple[RequestedTrials, RequestedTrials],
    *,
    metric: str | None,
    everything: bool,
) -> list[ArmChange]:
    """Return configurations with differing numbers or lost trials.

    ``metric`` on test, or all scores on test but mechanisms and dummy baselines; with ``everything`` every split and
    metric.
    """
    facts: dict[str, MetricFacts] = {}
    for run in runs:
        facts |= metric_facts(reader, run.suite, [run])
    ids = {trial.trial_id for side in requested for trials in side.values() for trial in trials.values()}
    scores: dict[tuple[str, str], dict[str, float]] = {}  # by split and metric
    for trial_id, split, name, value in reader.results(ids).rows:
        plain = split == Split.TEST and (name == metric or not name.startswith(BESIDE))
        if (everything or plain) and metric in (None, name) and value is not None:
            scores.setdefault((split, name), {})[trial_id] = value
    changes = []
    for cell in sorted(requested[0].keys() & requested[1].keys()):
        for (split, name), values in sorted(scores.items()):
            first, second = (_by_seed(side.get(cell, {}), values) for side in requested)
            lost = sum(
                seed in first and seed not in second and trial.status in _LOST
                for seed, trial in requested[1].get(cell, {}).items()
            )
            if first != second or lost:
                fact = facts.get(name, MetricFacts(name))
                changes.append(_arm_change(cell, split, fact, (first, second), lost))
    return changes


def _by_seed(trials: Mapping[int, RequestedTrial], values: Mapping[str, float]) -> dict[int, float]:
    return {seed: values[trial.trial_id] for seed, trial in trials.items() if trial.trial_id in values}


def _arm_change(
    cell: Configuration,
    split: str,
    fact: MetricFacts,
    scores: tuple[Mapping[int, float], Mapping[int, float]],
    lost: int,
) -> ArmChange:
    first, second = scores
    pairs = tuple(seed_differences(second, first).values())
    tested = stats.paired_t(pairs) if len(pairs) > 1 else None
    before, after = (statistics.fmean(values.values()) if values else None for values in scores)
    return ArmChange(
        *cell,
        split,
        fact.name,
        fact.unit,
        fact.better,
        before,
        after,
        len(first),
        len(second),
        len(pairs),
        statistics.fmean(pairs) if pairs else None,
        None if tested is None else tested.low,
        None if tested is None else tested.high,
        lost,
        pairs,
    )


@dataclass(frozen=True, slots=True)
class ArmRegression:
    """An arm that is worse beyond the tolerance, and the reason."""

    change: ArmChange
    reason: str


def regressions(
    changes: Sequence[ArmChange], size: float, metric: str, better: str | None = None
) -> list[ArmRegression]:
    """Return arms that are worse on test by more than ``size``.

    ``size`` is in the metric's unit. The mean of the pairs must be worse by more than the size, and so must the whole
    95 % interval or every single pair.
    A seed that had a score and diverged or failed since is a regression too.

    Raises:
        HarnessError: the better direction is unknown.
    """
    result = []
    for change in changes:
        if (change.metric, change.split) != (metric, Split.TEST):
            continue
        way = better or change.better
        if way not in ("higher", "lower"):
            raise HarnessError(f"is a higher or a lower {metric} better? Say --better higher or --better lower")
        mean, end, least = change.losses(way)
        if change.lost:
            result.append(ArmRegression(change, f"{change.lost} of {change.first_n} seeds have no score any more"))
        elif mean > size and end > size:
            result.append(ArmRegression(change, f"the whole interval is worse by more than {size:g}"))
        elif mean > size and least > size:
            text = "the one pair is" if change.n == 1 else f"all {change.n} pairs are"
            result.append(ArmRegression(change, f"{text} worse by more than {size:g}"))
    return result


def compared_seeds(reader: Queries, runs: tuple[str, str], metric: str) -> int:
    """Count scores on test at configurations and seeds of both runs; HarnessError where there is none."""
    left, right = (requested_trials(reader, run) for run in runs)
    shared = {trial.trial_id: 0 for _, trial, _ in seed_pairs(left, right)}
    for _, trial, _ in seed_pairs(left, right):
        shared[trial.trial_id] += 1
    rows = reader.query(
        "SELECT metric, trial_id FROM results WHERE split = ? AND trial_id = ANY(?)", [Split.TEST.value, list(shared)]
    ).rows
    counts: dict[str, int] = {}
    for name, trial_id in rows:
        counts[name] = counts.get(name, 0) + shared[trial_id]
    if metric not in counts:
        existing = [name for name in counts if not name.startswith(BESIDE)]
        raise HarnessError(
            f"the two runs share no configuration and seed with a score of '{metric}'; {choices(existing, metric)}"
        )
    return counts[metric]
