"""The choice of a search: the arm's own configuration stays unless another is clearly better."""

from pathlib import Path

import pytest

from harness.plan.planning import make_plan
from harness.plan.protocols import EqualSearch, extended, searches
from harness.plan.tuning import Point, chosen_point
from harness.suite import load_suite
from harness.sweep.study import Drawing
from harness.trial.options import Values

OWN = Values({"optimizer.lr": 0.1})
OTHER = Values({"optimizer.lr": 0.3})


@pytest.fixture
def search(tiny: Path) -> EqualSearch:
    tiny.write_text(tiny.read_text() + 'tuned: {seeds: 2, spaces: {"*": {optimizer.lr: {factors: [0.333, 1, 3]}}}}\n')
    suite = load_suite(tiny)
    return searches(suite, make_plan(suite))[0]


@pytest.mark.parametrize(
    ("own", "other", "chosen"),
    [
        ((50.0, 52.0), (50.5, 52.7), OTHER),  # 0.6 better, standard error 0.1
        ((50.0, 52.0), (49.9, 53.9), OWN),  # 0.9 better, standard error 1.0
        ((50.0,), (50.1,), OTHER),  # one seed has no standard error
        ((50.0, 52.0), (49.0, 52.0), OWN),
    ],
)
def test_the_own_configuration_stays_within_one_standard_error(
    search: EqualSearch, own: tuple[float, ...], other: tuple[float, ...], chosen: Values
) -> None:
    scores: dict[str, float] = {}
    points = []
    for number, (params, values) in enumerate(((OWN, own), (OTHER, other))):
        trials = [f"{number}/{seed}" for seed in range(len(values))]
        scores |= dict(zip(trials, values, strict=True))
        points.append(Point(number, params, sum(values) / len(values), "told", trials))
    assert chosen_point(search.tuning, points, scores, OWN)["params"] == chosen


def test_an_own_configuration_that_diverged_is_not_kept(search: EqualSearch) -> None:
    points = [Point(0, OWN, float("nan"), "diverged", ["a", "b"]), Point(1, OTHER, 1.0, "told", ["c", "d"])]
    assert chosen_point(search.tuning, points, {"c": 1.0, "d": 1.0}, OWN)["params"] == OTHER


def test_an_end_that_one_arm_chose_extends_the_grid_of_all(search: EqualSearch) -> None:
    spaces = search.tuning.spaces
    more = extended(search, spaces, {"base": {"optimizer.lr": 0.3}, "better": {"optimizer.lr": 0.1}})
    assert more is not None
    assert more.budget == 1
    assert {arm: space["optimizer.lr"].choices for arm, space in more.tuning.spaces.items()} == {
        "better": [0.9],
        "base": [0.9],
    }
    assert more.tuning.sweep_id != search.tuning.sweep_id
    assert more.tuning.seed_groups() == search.tuning.seed_groups()
    assert extended(search, spaces, {"base": OWN, "better": OWN}) is None


def test_searches_share_no_seed_and_a_random_one_begins_with_the_own_configuration(tiny: Path) -> None:
    space = 'spaces: {"*": {optimizer.lr: {low: 0.01, high: 1.0, log: true}}}'
    tiny.write_text(tiny.read_text() + f"tuned: {{sampler: random, seeds: 2, {space}}}\n")
    suite = load_suite(tiny)
    every = searches(suite, make_plan(suite))
    assert [each.tuning.seed_groups() for each in every] == [[(10_000, 10_001)], [(10_100, 10_101)], [(10_200, 10_201)]]
    drawn = [Drawing.of(each.tuning, "base").draw(range(3), []) for each in every]
    assert [points[0].params for points in drawn] == [OWN, OWN, OWN]
    assert len({points[1].params["optimizer.lr"] for points in drawn}) == 3
