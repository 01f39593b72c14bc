"""What is left of a run, and in which order trials begin."""

from __future__ import annotations

import pytest

from harness.plan.order import Waiting, in_order
from harness.plan.remaining import Durations, base_arm


def test_an_arm_under_another_name_counts_as_the_arm() -> None:
    known = {"adam", "adamp", "power", "power-alpha-05"}
    names = {
        "adamp#12": "adamp",
        "adamp-tuned": "adamp",
        "adamp-lr-0.01": "adamp",
        "adam-lr-1e-05": "adam",
        "power-alpha-05-tuned": "power-alpha-05",
        "power-alpha-05": "power-alpha-05",
        "other": "other",
        "other#3": "other",
        "prerequisite:teacher": "prerequisite:teacher",
    }
    assert {name: base_arm(name, known) for name in names} == names


def test_a_cell_takes_what_its_trials_took_and_others_what_their_prices_say() -> None:
    durations = Durations({("b", "one"): 2.0, ("b", "two"): 6.0, ("c", "one"): 10.0})
    assert durations.of("b", "two") == 6.0
    assert durations.of("c", "none") is None
    for name in ("one", "one#3", "one-tuned"):
        durations.ended("b", name, 4.0)
    # all took twice their price
    assert durations.of("b", "one") == durations.of("b", "one-lr-0.1") == 4.0
    assert durations.of("b", "two") == 12.0
    assert durations.of("c", "one") == 20.0
    assert durations.of("b", "three") == 8.0  # as its benchmark's others on average
    for _ in range(99):
        durations.ended("c", "one", 10.0)
    assert durations.of("c", "one") == pytest.approx(10.0, rel=0.01)
    assert durations.of("b", "two") == pytest.approx(9.0, rel=0.02)  # three trials at 2 a unit, one at 1


def test_without_prices_a_cell_is_drawn_to_the_mean_of_its_benchmark() -> None:
    durations = Durations()
    durations.ended("b", "slow", 9.0)
    durations.ended("b", "quick", 1.0)
    slow, quick = durations.of("b", "slow"), durations.of("b", "quick")
    assert slow is not None
    assert quick is not None
    assert quick < 5.0 < slow
    assert durations.of("b", "other") == 5.0
    for _ in range(50):
        durations.ended("b", "quick", 1.0)
    assert durations.of("b", "quick") == pytest.approx(1.0, abs=0.05)


def test_time_left_counts_what_runs_side_by_side_and_the_pauses() -> None:
    durations = Durations()
    waiting = {("b", "one"): 10}
    assert durations.left(waiting, [], 3.0) is None
    durations.ended("b", "one", 4.0)
    durations.ended("b", "one", 4.0)
    # 8 s of trials in 5 s; what runs has 1 s to go
    assert durations.left(waiting, [(("b", "one"), 3.0)], 5.0) == pytest.approx((40 + 1) * 5 / 11)
    assert durations.left({("c", "x"): 1}, [], 4.0) == pytest.approx(2.0)
    assert durations.left({}, [], 4.0) == 0.0


def test_seeds_follow_each_other_and_long_trials_come_first() -> None:
    durations = Durations({("b", "short"): 1.0, ("b", "long"): 5.0, ("c", "mid"): 3.0})
    trials = [Waiting(f"{b}{a}{seed}", b, a, seed) for seed in (0, 1) for b, a in durations.prices]
    assert [trial.trial_id for trial in in_order(trials, durations)] == [
        "blong0",
        "cmid0",
        "bshort0",  # the benchmarks take turns
        "blong1",
        "cmid1",
        "bshort1",
    ]


def test_in_the_first_seed_each_benchmark_comes_early() -> None:
    durations = Durations({("b", f"a{k}"): 9.0 for k in range(5)})
    trials = [Waiting(f"b{k}", "b", f"a{k}", 3) for k in range(5)] + [
        Waiting("c", "c", "x", 3),
        Waiting("d", "d", "x", 3),
    ]
    assert {trial.trial_id for trial in in_order(trials, durations)[:3]} == {"b0", "c", "d"}


def test_what_others_wait_for_comes_with_their_time() -> None:
    durations = Durations({("b", "teacher"): 1.0, ("b", "student"): 4.0, ("b", "alone"): 3.0})
    trials = [
        Waiting("alone", "b", "alone", 1),
        Waiting("teacher", "b", "teacher", 1),
        Waiting("student", "b", "student", 1, ("teacher",)),
    ]
    assert [trial.trial_id for trial in in_order(trials, durations)] == ["teacher", "student", "alone"]


def test_without_any_knowledge_trials_of_a_benchmark_keep_their_order() -> None:
    trials = [Waiting(f"{seed}{k}", "b", f"a{k}", seed) for seed in (0, 1) for k in (2, 0, 1)]
    assert in_order(trials, Durations()) == trials
    assert in_order([], Durations()) == []
