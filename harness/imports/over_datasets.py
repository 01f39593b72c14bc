"""Methods over data sets: average ranks, wins and descriptions beside the tests of pairs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness import stats
from harness.base.text import score
from harness.judge.comparing import ArmScore
from harness.judge.rows import VerdictRow
from harness.vocabulary import Tone, Verdict

LEVELS = tuple(step / 10 for step in range(11))
"""Of a performance profile: 0 is a data set's worst method, 1 its best."""


@dataclass(frozen=True, slots=True)
class RankedMethod:
    """A method over all data sets, compared with every other.

    Attributes:
        rank: average rank, 1 = best; ``mean`` is over the data sets.
        wins: data sets won against others, with ``ties`` and ``losses``.
        better: methods that it is better than by a corrected test; ``worse``: that are better.
        iqm: interquartile mean of the runs, with its bootstrap interval.
        profile: share of data sets on which it reaches each of ``LEVELS``.
    """

    arm: str
    rank: float
    mean: float
    wins: int
    ties: int
    losses: int
    better: int
    worse: int
    iqm: stats.Interval
    profile: tuple[float, ...]

    @property
    def iqm_text(self) -> str:
        """The interquartile mean with its interval, if there is one."""
        low, high = self.iqm.low, self.iqm.high
        return score(self.iqm.estimate) + (f" [{score(low)}, {score(high)}]" if math.isfinite(low + high) else "")


@dataclass(frozen=True, slots=True)
class OverDatasets:
    """Every method by average rank.

    Attributes:
        datasets: that all methods have.
        friedman_p: of "all methods are alike", a description.
        groups: methods in order of rank of which no two differ by a corrected test, as first and last place.
    """

    methods: tuple[RankedMethod, ...]
    datasets: tuple[str, ...]
    friedman_p: float
    groups: tuple[tuple[int, int], ...]
    levels: tuple[float, ...] = field(default=LEVELS)


def oriented(pairs: Sequence[tuple[str, str]], scores: Sequence[ArmScore], better: str) -> list[tuple[str, str]]:
    """Pairs of all arms, the one with the better average rank first."""
    arms, _, table = _table(scores, better)
    place = dict(zip(arms, stats.average_ranks(table).ranks, strict=True))
    return [pair if place[pair[0]] <= place[pair[1]] else pair[::-1] for pair in pairs]


def over_datasets(
    rows: Sequence[VerdictRow], scores: Sequence[ArmScore], runs: Sequence[ArmScore], better: str
) -> OverDatasets:
    """Ranks, wins and descriptions of the compared methods."""
    arms, datasets, table = _table(scores, better)
    ranks = stats.average_ranks(table)
    sign = 1.0 if better == "higher" else -1.0
    profile = stats.performance_profile(table, LEVELS) if len(table) else np.full((len(LEVELS), len(arms)), math.nan)
    strata = {arm: _strata(runs, arm) for arm in arms}
    apart = _apart(rows)
    order = sorted(range(len(arms)), key=lambda place: (ranks.ranks[place], arms[place]))
    methods = []
    for place in order:
        arm, others = arms[place], [other for other in range(len(arms)) if other != place]
        against = table[:, [place]] - table[:, others]
        iqm = stats.interquartile_mean(strata[arm])
        methods.append(
            RankedMethod(
                arm,
                float(ranks.ranks[place]),
                float(sign * table[:, place].mean()) if len(table) else math.nan,
                int((against > 0).sum()),
                int((against == 0).sum()),
                int((against < 0).sum()),
                sum(first == arm for first, _ in apart),
                sum(second == arm for _, second in apart),
                iqm,
                tuple(float(share) for share in profile[:, place]),
            )
        )
    names = [method.arm for method in methods]
    return OverDatasets(tuple(methods), tuple(datasets), ranks.p, _groups(names, apart))


def _table(scores: Sequence[ArmScore], better: str) -> tuple[list[str], list[str], stats.Floats]:
    """Arms, their common data sets, and scores with larger = better."""
    values = {(entry.pair, entry.arm): entry.value for entry in scores}
    arms = list(dict.fromkeys(entry.arm for entry in scores))
    sets = dict.fromkeys(entry.pair for entry in scores)
    whole = [name for name in sets if all(math.isfinite(values.get((name, arm), math.nan)) for arm in arms)]
    sign = 1.0 if better == "higher" else -1.0
    table = np.array([[sign * values[name, arm] for arm in arms] for name in whole]).reshape(len(whole), len(arms))
    return arms, whole, table


def _strata(runs: Sequence[ArmScore], arm: str) -> list[stats.Floats]:
    by_set: dict[str, list[float]] = {}
    for run in runs:
        if run.arm == arm and math.isfinite(run.value):
            by_set.setdefault(run.pair, []).append(run.value)
    return [np.array(values) for values in by_set.values()]


def _apart(rows: Sequence[VerdictRow]) -> set[tuple[str, str]]:
    """Pairs (better, worse) that a corrected test tells apart."""
    result = set()
    for row in rows:
        arm, other = row.detail.question.arm or "", row.detail.question.against[0]
        tone = Verdict.of(row.verdict).tone
        if Verdict.of(row.verdict).decisive:
            result.add((arm, other) if tone == Tone.HOLDS else (other, arm))
    return result


def _groups(names: Sequence[str], apart: set[tuple[str, str]]) -> tuple[tuple[int, int], ...]:
    """Longest runs of ranked methods without two that differ."""
    runs: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = first
        while last + 1 < len(names) and not any(
            pair in apart
            for name in names[first : last + 1]
            for pair in ((name, names[last + 1]), (names[last + 1], name))
        ):
            last += 1
        if last > first and not (runs and runs[-1][1] >= last):
            runs.append((first, last))
    return tuple(runs)


def shares_of(differences: Mapping[int, float], smallest: float | None) -> tuple[float, float, float] | None:
    """Bayesian shares of loss, neither and gain; None without a smallest effect or with a lost pair."""
    values = list(differences.values())
    if smallest is None or not values or not all(map(math.isfinite, values)):
        return None
    return stats.practical_shares(values, smallest)
