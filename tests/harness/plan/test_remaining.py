"""Time left of a run, and the order in which trials begin."""

import pytest

from harness.plan.remaining import Durations, Waiting, in_order


def test_a_configuration_takes_its_own_median_and_others_that_of_all() -> None:
    durations = Durations()
    assert durations.medians([("b", "one")]) == {}
    for seconds in (1.0, 2.0, 9.0):
        durations.ended("b", "one", seconds)
    durations.ended("b", "two#7", 3.0)  # a sweep's configuration counts as its arm
    durations.ended("b", "two", 5.0)
    cells = [("b", "one"), ("b", "two#1"), ("c", "one")]
    assert durations.medians(cells) == {("b", "one"): 2.0, ("b", "two#1"): 4.0, ("c", "one"): 3.0}


def test_time_left_counts_what_runs_side_by_side_and_the_pauses() -> None:
    durations = Durations()
    waiting = {("b", "one"): 10}
    assert durations.left(waiting, [], 3.0) is None
    durations.ended("b", "one", 4.0)
    durations.ended("b", "one", 4.0)
    # 8 s of trials in 5 s; the running one has 1 s to go
    assert durations.left(waiting, [(("b", "one"), 3.0)], 5.0) == pytest.approx((40 + 1) * 5 / 11)
    assert durations.left({("c", "x"): 1}, [], 4.0) == pytest.approx(2.0)
    assert durations.left({}, [], 4.0) == 0.0


def test_seeds_follow_each_other_and_long_trials_come_first() -> None:
    seconds = {("b", "short"): 1.0, ("b", "long"): 5.0, ("c", "mid"): 3.0}
    trials = [Waiting(f"{b}{a}{seed}", b, a, seed) for seed in (0, 1) for b, a in seconds]
    ordered = [trial.trial_id for trial in in_order(trials, seconds)]
    assert ordered == ["blong0", "cmid0", "bshort0", "blong1", "cmid1", "bshort1"]


def test_a_dependency_comes_with_the_time_of_those_that_wait_for_it() -> None:
    seconds = {("b", "teacher"): 1.0, ("b", "student"): 4.0, ("b", "alone"): 3.0}
    student = Waiting("student", "b", "student", 1, ("teacher",))
    trials = [Waiting("alone", "b", "alone", 1), Waiting("teacher", "b", "teacher", 1), student]
    assert [trial.trial_id for trial in in_order(trials, seconds)] == ["teacher", "student", "alone"]


def test_trials_of_unknown_length_keep_their_order() -> None:
    trials = [Waiting(f"{seed}{k}", "b", f"a{k}", seed) for seed in (0, 1) for k in (2, 0, 1)]
    assert in_order(trials, {}) == trials
    assert in_order([], {}) == []
