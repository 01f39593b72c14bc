"""The tuned protocol: its arms, their spaces, and their places in judging."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import SuiteError
from harness.plan.planning import Selection, make_plan
from harness.plan.protocols import rate_plans, searches, tuned_plan, tuned_suite
from harness.suite import load_suite
from harness.suite.search_models import SpaceRange
from harness.suite.spaces import ends
from harness.suite.warnings import warnings_of

GATES = (
    "mechanism: [{metric: mechanism.x, arm: better, op: '>=', value: 0.5}, "
    "{metric: mechanism.x, arm: base, relative_to: better, op: '>=', value: 1.0}]"
)


@pytest.fixture
def tuned(tiny: Path) -> Path:
    tiny.write_text(
        tiny.read_text() + 'tuned: {budget: 3, searches: 1, spaces: {"*": {optimizer.lr: {factors: [0.5, 1, 2]}}}}\n'
    )
    return tiny


def test_a_grid_of_factors_is_relative_to_each_arm_and_begins_with_its_own(tuned: Path) -> None:
    tuned.write_text(tuned.read_text().replace("lr: 0.1}, set: {noise_key: base}", "lr: 0.4}, set: {noise_key: base}"))
    suite = load_suite(tuned)
    plan = make_plan(suite)
    (search,) = searches(suite, plan)
    expected = {"better": [0.05, 0.1, 0.2], "base": [0.2, 0.4, 0.8]}
    assert {arm: space["optimizer.lr"].choices for arm, space in search.tuning.spaces.items()} == expected
    assert search.tuning.first == {"better": {"optimizer.lr": 0.1}, "base": {"optimizer.lr": 0.4}}
    assert (search.budget, search.trials) == (3, 6)


@pytest.mark.parametrize(
    ("space", "chosen", "end"),
    [
        ({"choices": [0.1, 0.3, 0.9]}, 0.9, "largest"),
        ({"choices": [0.1, 0.9, 0.3]}, 0.1, "least"),
        ({"choices": [0.1, 0.3, 0.9]}, 0.3, None),
        ({"choices": [0.1, 1.0]}, 1.0, None),  # of two each is an end
        ({"choices": ["cosine", "step", "linear"]}, "step", None),
        ({"low": 0.1, "high": 0.9}, 0.9, "largest"),
        ({"low": 0.1, "high": 0.9}, 0.5, None),
    ],
)
def test_a_choice_at_an_end_of_the_grid_is_named(space: dict[str, Any], chosen: Any, end: str | None) -> None:
    result = ends({"optimizer.lr": SpaceRange(**space)}, {"optimizer.lr": chosen, "another": 1.0})
    assert result == ({} if end is None else {"optimizer.lr": end})


def test_a_budget_is_at_most_the_smallest_grid_and_equal(tuned: Path) -> None:
    tuned.write_text(tuned.read_text().replace("budget: 3", "budget: 9"))
    suite = load_suite(tuned)
    assert [search.budget for search in searches(suite, make_plan(suite))] == [3]


def test_what_is_chosen_is_judged_in_the_arms_place_over_its_seeds(tuned: Path) -> None:
    suite = load_suite(tuned)
    plan = make_plan(suite, Selection(seeds=(0, 1, 4)))
    (search,) = searches(suite, plan)
    params = {"better": {"optimizer.lr": 0.1}, "base": {"optimizer.lr": 0.2}}
    changed = tuned_plan(suite, plan, [(search, params)])
    assert {(link.arm, link.seed) for link in changed.run.links} == {
        (arm, seed) for arm in ("better-tuned", "base-tuned") for seed in (0, 1, 4)
    }
    assert changed.judged.trial_ids("known", "better") == plan.trial_ids("known", "better"), "its own values"
    assert changed.judged.trial_ids("known", "base").keys() == {0, 1, 4}
    assert not set(changed.judged.trial_ids("known", "base").values()) & set(plan.trial_ids("known", "base").values())


def test_the_rate_curve_has_the_recipes_own_trials_and_three_rates_around(tuned: Path) -> None:
    suite = load_suite(tuned)
    plan = make_plan(suite, Selection(seeds=tuple(range(5))))
    at = {round(each.factor, 3): each for each in rate_plans(suite, plan)}
    assert [each.rates["known"]["base"] for each in at.values()] == [0.011, 0.033, 0.1, 0.3]
    own = at[1.0].plan.judged.trial_ids("known", "base")
    assert own == {seed: trial for seed, trial in plan.trial_ids("known", "base").items() if seed < 3}
    assert {link.arm for link in at[3.0].plan.run.links} == {"better-lr-0.3", "base-lr-0.3"}


def test_nothing_is_tuned_at_another_scale_or_without_the_claims_arms(tuned: Path) -> None:
    suite = load_suite(tuned)
    assert not searches(suite, make_plan(suite, Selection(scale="smoke")))
    assert not searches(suite, make_plan(suite, Selection(arms=("base",))))


def test_a_gate_that_compares_two_arms_is_not_asked_of_tuned_ones(tuned: Path) -> None:
    tuned.write_text(tuned.read_text().replace("primary: true}", f"primary: true, {GATES}}}"))
    (binding,) = tuned_suite(load_suite(tuned)).model.claims
    assert [gate.arms for gate in binding.gates] == [("better",)]
    assert binding.protocol == "tuned"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("claims: [nothing]", "no claim that is bound to arms: 'nothing'"),
        ("spaces: {nobody: {optimizer.lr: {factors: [1]}}}", "no arm 'nobody'"),
        ('spaces: {"*": {optimizer.rate: {factors: [1]}}}', "no 'rate' to tune"),
        ("benchmarks: {nowhere: {budget: 2}}", "no benchmark 'nowhere'"),
        ("benchmarks: {known: {selection_metric: loss}}", "has no metric 'loss'"),
        ('spaces: {"*": {optimizer.lr: {factors: [1], choices: [1]}}}', "give 'choices', 'factors'"),
        ("rates: {seeds: 2}", "greater than or equal to 3"),
    ],
)
def test_a_section_that_names_what_is_not_there_is_refused(tiny: Path, section: str, message: str) -> None:
    tiny.write_text(f"{tiny.read_text()}tuned: {{{section}}}\n")
    with pytest.raises(SuiteError, match=message):
        load_suite(tiny)


def test_arms_with_unequal_spaces_are_warned_of(tuned: Path) -> None:
    assert not warnings_of(load_suite(tuned))
    tuned.write_text(tuned.read_text().replace("lr: 0.1}, set: {noise_key: base}", "lr: 0.4}, set: {noise_key: base}"))
    (warning,) = warnings_of(load_suite(tuned))
    assert "tiny-better" in str(warning)
    assert "optimizer.lr" in str(warning)
