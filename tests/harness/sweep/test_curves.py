"""Budget curves of a sweep: coverage of the difference's band by simulation, directions, ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.sweep.summary import budget_curves


@pytest.mark.parametrize("support", [(0.0, 1.0), (-math.inf, math.inf)])
def test_the_band_of_a_difference_covers_the_whole_curve(support: tuple[float, float]) -> None:
    """Uniform scores on [0, 1] and on [0, 0.8]: both curves are known for every B."""
    draw = np.random.default_rng(5)
    budgets = np.arange(1, 16)
    item = 0.5 ** (1 / budgets) if math.isinf(support[0]) else budgets / (budgets + 1)
    truth = item - 0.8 * item
    covered, inside = [], 0
    for _ in range(400):
        result = budget_curves({"base": 0.8 * draw.random(15), "other": draw.random(15)}, 1.0, support)
        low, high = (np.array(result["difference_bands"]["other − base"][end]) for end in ("low", "high"))
        covered.append(bool(((low <= truth) & (truth <= high)).all()))
        inside += int(np.isfinite(low[0]) and np.isfinite(high[0]) and high[0] - low[0] < 1.8)
    assert np.mean(covered) >= 0.95
    assert inside == 400  # not by being as wide as everything


def test_a_metric_that_falls_is_the_mirror_of_one_that_rises() -> None:
    values = {arm: np.random.default_rng(seed).random(8) for arm, seed in (("base", 1), ("other", 2))}
    up = budget_curves(values, 1.0, (0.0, 1.0))
    down = budget_curves(values, -1.0, (0.0, 1.0))
    for arm in values:
        assert down["curves"][arm]["expected"] == pytest.approx([-v for v in up["curves"][arm]["expected"]])
        assert down["curves"][arm]["low"] == pytest.approx([-v for v in up["curves"][arm]["high"]])
        assert down["curves"][arm]["high"] == pytest.approx([-v for v in up["curves"][arm]["low"]])
    assert down["differences"] == up["differences"]  # up is better in both
    assert down["difference_bands"] == up["difference_bands"]


def test_without_a_range_the_median_is_banded() -> None:
    values = {"base": np.arange(10.0), "other": np.arange(10.0) + 3}
    bounded = budget_curves(values, 1.0, (0.0, 20.0))["curves"]["base"]
    free = budget_curves(values, 1.0, (-math.inf, math.inf))["curves"]["base"]
    assert (bounded["band"], free["band"]) == ("expected", "median")
    assert bounded["middle"] == pytest.approx(bounded["expected"])
    assert free["middle"][0] == 4.0  # the fifth of ten is the median of one draw
    assert all(
        low <= middle <= high for low, middle, high in zip(free["low"], free["middle"], free["high"], strict=True)
    )
    assert all(math.isfinite(end) for end in (*bounded["low"], *bounded["high"]))
