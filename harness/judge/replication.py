"""How often the same design would give the same word again, as far as the stored differences tell.

A plug-in: new differences of as many seeds are drawn from the normal law that has the mean and the covariance of the
stored ones (covariance, since benchmarks share seeds), and each draw is given its word by the rules of the verdict, the
other tests of its family staying as they are. A word that stands at the very edge of its rule comes again in about half
of the draws. The estimate is taken for the truth, so that the share is a hint, not an inference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.judge.tests import FEWEST, Conjunction, NoWorse, Paired, Test
from harness.judge.verdicts import Criteria, Reading, decide

DRAWS, SEED = 1_000, 0
WHOLE = 64
"""Pairs up to which a draw has n normal numbers for each of n values."""
EXACT_FLIPS = 12
"""Differences up to which every change of signs is tried; beyond it 2048 changes are drawn."""

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DrawnTests:
    """A test of each draw, as `Test` has it of the stored differences."""

    above: Floats
    below: Floats
    smaller: Floats
    estimate: Floats
    fragile: Booleans


def replication(
    test: Test, reading: Reading, criteria: Criteria, word: str, levels: tuple[float, float]
) -> float | None:
    """Share of draws that give the word again; None where pairs are too few or were lost by divergence.

    Args:
        levels: the p of the test, and of "smaller than m", at which the correction accepts it, the family as it is.
    """
    series = _series(test)
    if not series or any(each.n < FEWEST or not each.sized for each in series):
        return None
    drawn = _drawn(test, iter(_samples([each.values for each in series])), criteria)
    alpha = criteria.alpha
    p = np.minimum(drawn.above, drawn.below)
    large = drawn.estimate >= criteria.kappa * (criteria.delta or 0.0)
    seen = np.stack(
        [p <= levels[0], drawn.smaller <= levels[1], drawn.above <= alpha, drawn.below <= alpha, drawn.fragile, large],
        axis=1,
    )
    kinds, counts = np.unique(seen, axis=0, return_counts=True)
    again = 0
    for (certain, small, above, below, fragile, reaches), count in zip(kinds, counts, strict=True):
        estimate = math.inf if reaches else -math.inf
        like = replace(reading, above=bool(above), below=bool(below), fragile=bool(fragile), estimate=estimate)
        again += count * (decide(like, 1.0 - certain, criteria, 1.0 - small) == word)
    return float(again / DRAWS)


def _series(test: Test) -> list[Paired]:
    """The series of differences that a test is made of; an empty one where failed trials count as lost pairs."""
    if isinstance(test, Conjunction):
        return [each for part in test.parts for each in _series(part)]
    return [test if isinstance(test, Paired) else Paired(())]


@lru_cache(maxsize=WHOLE)
def _weights(n: int) -> Floats:
    """draws × n × n; the same for every series of n, which keeps their covariance."""
    return np.random.default_rng([SEED, n]).standard_normal((DRAWS, n, n)) / math.sqrt(n - 1)


def _samples(series: Sequence[Sequence[float]]) -> list[Floats]:
    """draws × n of each series; those of one length keep their covariance."""
    kinds: dict[int, list[int]] = {}
    for place, values in enumerate(series):
        kinds.setdefault(len(values), []).append(place)
    samples: dict[int, Floats] = {}
    for n, places in kinds.items():
        stored = np.array([series[place] for place in places])
        means = stored.mean(axis=1)
        centred = stored - means[:, None]
        drawn = _weights(n) @ centred.T if n <= WHOLE else _spread(centred)
        samples |= {place: means[at] + drawn[:, :, at] for at, place in enumerate(places)}
    return [samples[place] for place in range(len(series))]


def _spread(centred: Floats) -> Floats:
    """draws × n × series: what ``_weights`` gives in law, by as many normal numbers a draw as the series have values.

    What n normal numbers for each value give lies in the space of the series: numbers in a basis of it are enough.
    """
    n = centred.shape[1]
    basis = np.linalg.qr(centred.T, mode="r")
    normal = np.random.default_rng([SEED, n]).standard_normal((DRAWS, n, len(basis)))
    spread: Floats = normal @ basis / math.sqrt(n - 1)
    return spread


def _drawn(test: Test, samples: Iterator[Floats], criteria: Criteria) -> DrawnTests:
    if not isinstance(test, Conjunction):
        assert isinstance(test, Paired)
        return _drawn_pairs(test, next(samples), criteria)
    parts = [_drawn(part, samples, criteria) for part in test.parts]
    k, others, alpha = test.k, len(parts) - test.k + 1, criteria.alpha

    def kth(values: Sequence[Floats], place: int) -> Floats:
        return np.sort(np.stack(values), axis=0)[place - 1]

    above = np.minimum(1.0, others * kth([part.above for part in parts], k))
    below = np.minimum(1.0, k * kth([part.below for part in parts], others))
    up = np.stack([(part.above <= alpha / others) & ~part.fragile for part in parts]).sum(axis=0)
    down = np.stack([(part.below <= alpha / k) & ~part.fragile for part in parts]).sum(axis=0)
    return DrawnTests(
        above,
        below,
        np.minimum(1.0, k * kth([part.smaller for part in parts], others)),
        kth([part.estimate for part in parts], others),
        np.where(above <= alpha, up < k, (below <= alpha) & (down < others)),
    )


def _drawn_pairs(test: Paired, sample: Floats, criteria: Criteria) -> DrawnTests:
    margin = test.margin if isinstance(test, NoWorse) else 0.0
    shifted = sample + margin
    above, below = _directed(shifted, test.rule)
    if isinstance(test, NoWorse):
        above = above / 2 if test.rule is not None else _tail(-shifted)
    smaller = np.ones(len(sample))
    if criteria.smallest is not None and not isinstance(test, NoWorse):
        short = criteria.smallest - sample
        smaller = _tail(-short) if test.rule is None else _directed(short, test.rule)[0] / 2
    rejected = np.minimum(above, below) <= criteria.alpha
    fragile = rejected & _sign_sensitive(shifted, rejected, criteria.alpha)
    return DrawnTests(above, below, smaller, sample.mean(axis=1), fragile)


def _directed(sample: Floats, rule: stats.SequentialRule | None) -> tuple[Floats, Floats]:
    """p above and below zero of each row."""
    if rule is None:
        up, down = 2 * _tail(-sample), 2 * _tail(sample)
        return np.where(up < 1, up, 1.0), np.where(down < 1, down, 1.0)
    n = sample.shape[1]
    rule, log_e, sums = rule.after(n), stats.log_e_process(sample, rule.g), np.cumsum(sample, axis=1)
    looks = rule.looks(n)
    up = np.max(log_e, axis=1, where=looks & (sums > 0), initial=-np.inf)
    down = np.max(log_e, axis=1, where=looks & (sums < 0), initial=-np.inf)
    return rule.p(up), rule.p(down)


def _tail(sample: Floats) -> Floats:
    """One-sided p of "below zero" of each row's t."""
    from scipy import special

    n, mean = sample.shape[1], sample.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0.0, 0.0, mean / sample.std(axis=1, ddof=1) * math.sqrt(n))
    tail: Floats = special.stdtr(n - 1, t)
    return tail


def _sign_sensitive(sample: Floats, asked: Booleans, alpha: float) -> Booleans:
    """`stats.sign_sensitive` of the rows that are asked for."""
    n = sample.shape[1]
    if n <= 5:
        return np.asarray(~((sample > 0).all(axis=1) | (sample < 0).all(axis=1)), dtype=np.bool_)
    rows = sample[asked]
    reached = np.abs(_flips(n) @ rows.T) >= np.abs(rows.sum(axis=1)) * (1 - 1e-12)
    answer = np.zeros(len(sample), dtype=bool)
    answer[asked] = reached.mean(axis=0) > alpha + 2.0 ** (1 - n)
    return answer


@lru_cache(maxsize=32)
def _flips(n: int) -> Floats:
    """Changes of signs × n; the first sign stays, since turning all of them changes no absolute sum."""
    if n <= EXACT_FLIPS:
        bits = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1
    else:
        bits = np.random.default_rng([SEED, n]).integers(0, 2, (2 ** (EXACT_FLIPS - 1), n))
    return np.asarray(1 - 2 * bits, dtype=np.float64)
