"""Seeds × items with overlapping test sets: the balanced case, coverage, and what has no interval."""

import math

import numpy as np
import pytest

from harness import stats


def drawn(rng: np.random.Generator, seeds: int, seed_sd: float, item_sd: float) -> np.ndarray:
    """Differences without effect; each seed is tested on 80 of 120 items."""
    values, items = np.full((seeds, 120), np.nan), rng.normal(0, item_sd, 120)
    for row in values:
        chosen = rng.choice(120, 80, replace=False)
        row[chosen] = rng.normal(0, seed_sd) + items[chosen] + rng.normal(0, 0.7, 80)
    return values


def test_it_is_the_balanced_interval_where_all_items_are_common() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(5, 60)) + 0.3 * rng.normal(size=(5, 1)) + rng.normal(size=(1, 60))
    crossed, unbalanced = stats.two_way_interval(matrix), stats.overlapping_two_way(matrix)
    assert unbalanced.estimate == pytest.approx(crossed.estimate)
    assert (unbalanced.seed_sd, unbalanced.item_sd) == pytest.approx((crossed.seed_sd, crossed.item_sd))
    assert unbalanced.high - unbalanced.low == pytest.approx(crossed.high - crossed.low, rel=0.02)


@pytest.mark.full
@pytest.mark.parametrize("seeds", [3, 6])
def test_coverage_with_two_thirds_shared(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    samples = [drawn(rng, seeds, 0.02, 0.5) for _ in range(400)]
    covered = [result.low <= 0 <= result.high for result in map(stats.overlapping_two_way, samples)]
    over_seeds = [stats.paired_t(np.nanmean(sample, axis=1)) for sample in samples]
    assert np.mean(covered) >= 0.93
    assert np.mean([result.low <= 0 <= result.high for result in over_seeds]) < 0.92


@pytest.mark.parametrize(
    "matrix",
    [
        np.full((3, 4), np.nan),
        np.ones((1, 5)),
        np.eye(3) + np.where(np.eye(3) > 0, 0.0, np.nan),
        np.array([[1.0, math.inf], [1.0, 2.0]]),
        np.ones((4, 4)),
    ],
)
def test_without_information_the_whole_line(matrix: np.ndarray) -> None:
    result = stats.overlapping_two_way(matrix)
    assert (result.low, result.high, result.p) == (-math.inf, math.inf, 1.0)


def test_only_matrices() -> None:
    with pytest.raises(ValueError, match="expected seeds × items"):
        stats.overlapping_two_way([1.0, 2.0])
