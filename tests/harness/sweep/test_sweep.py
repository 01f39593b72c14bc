"""Sweeps: equal budgets, draws that do not hang on history or on kills, a known optimum that is found."""

import json
import math
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import until

from harness.app.search import SweepRequest, SweepResult, run_sweep
from harness.cli.group import run_main
from harness.errors import HarnessError, SuiteError
from harness.execute.dispatch import Watch
from harness.plan.tuning import Point, TuningRequest, best_point, make_tuning
from harness.store import open_reader
from harness.suite import load_suite
from harness.suite.models import Arm
from harness.suite.search_models import SpaceRange
from harness.suite.spaces import spaces_of, with_point
from harness.sweep.study import Drawing, should_prune, worst_value
from harness.sweep.summary import budget_curves, summarise

SPACES = """
sweep:
  arms: [base, better]
  fresh: 3
  batch: 4
  spaces:
    "*": {optimizer.lr: {low: 1.0e-3, high: 1.0, log: true}, optimizer.momentum: {choices: [0.0]},
          optimizer.weight_decay: {choices: [0.0]}}
"""


@pytest.fixture
def surface(tiny: Path) -> Path:
    """The tiny suite on a response surface: the best learning rate is 0.1, known; noise is small."""
    text = tiny.read_text().replace("own_sd: 0.3}", "own_sd: 0.05, curvature: 4.0, pair_sd: 0.1}")
    tiny.write_text(text.replace("steps: 20", "steps: 2") + SPACES)
    return tiny


def sweep(suite: Path, database: Path, budget: int, **more: Any) -> SweepResult:
    request = SweepRequest(database=database, benchmark="known", budget=budget, executor="inline", **more)
    return run_sweep(load_suite(suite), request, Watch())


def draws(result: SweepResult) -> dict[str, list[dict[str, Any]]]:
    return {arm: [point.params for point in points] for arm, points in result.points.items()}


def states(result: SweepResult) -> dict[str, list[tuple[str, float | None]]]:
    return {arm: [(point.status, point.value) for point in points] for arm, points in result.points.items()}


def drawing(**more: Any) -> Drawing:
    space = {"optimizer.lr": SpaceRange(low=1e-4, high=1.0, log=True), "x": SpaceRange(choices=["a", "b"])}
    value = {"study_id": "id", "arm": "arm", "space": space, "sampler": "random", "maximise": True, **more}
    return Drawing(**value)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_point_is_a_function_of_the_sweep_and_the_rounds_before(sampler: str) -> None:
    how = drawing(sampler=sampler)
    first = how.draw(range(4), [])
    for point in first:
        point.value, point.status = -abs(math.log10(point.params["optimizer.lr"]) + 2), "told"
    second = how.draw(range(4, 8), first)
    assert [p.params for p in how.draw(range(4), [])] == [p.params for p in first]
    assert [p.params for p in how.draw(range(4, 8), first)] == [p.params for p in second]
    assert len({p.params["optimizer.lr"] for p in first + second}) == 8


def test_random_draws_of_two_arms_share_what_they_share() -> None:
    """Also where one has more to tune, whose name comes first."""
    item = drawing().draw(range(6), [])
    more = {"a": SpaceRange(low=1, high=9, integer=True), **drawing().space, "z": SpaceRange(low=0.0, high=1.0)}
    two = drawing(arm="other", space=more).draw(range(6), [])
    assert [p.params for p in item] == [{key: p.params[key] for key in item[0].params} for p in two]
    assert len({p.params["z"] for p in two}) == 6
    assert {type(p.params["a"]) for p in two} == {int}


def test_a_grid_is_every_combination_once() -> None:
    space = {"a": SpaceRange(choices=[1, 2, 3]), "b": SpaceRange(choices=["x", "y"])}
    grid = Drawing("id", "arm", space, "grid", True)
    points = grid.draw(range(6), [])
    assert len({(p.params["a"], p.params["b"]) for p in points}) == 6
    with pytest.raises(HarnessError, match="6 configurations"):
        grid.draw(range(7), [])
    with pytest.raises(HarnessError, match="needs 'choices'"):
        drawing(sampler="grid").draw(range(2), [])


def test_a_diverged_point_is_told_as_the_worst_finite_value() -> None:
    points = [Point(0, {}, 1.0, "told"), Point(1, {}, math.nan, "diverged"), Point(2, {}, 3.0, "told")]
    assert worst_value(points, maximise=True) == 1.0
    assert worst_value(points, maximise=False) == 3.0
    how = Drawing("id", "arm", {"x": SpaceRange(choices=[1, 2])}, "tpe", True)
    for point in points:
        point.params = {"x": 1}
    assert [trial.value for trial in how.study(points).trials] == [1.0, 1.0, 3.0]


def test_the_known_optimum_is_found(surface: Path, database: Path) -> None:
    result = sweep(surface, database, 24)
    for chosen in result.chosen.values():
        assert abs(math.log10(chosen["params"]["optimizer.lr"]) + 1) < 0.25
    assert result.summary["equal"]
    curves = result.summary["curves"]
    for curve in curves.values():
        assert curve["expected"] == sorted(curve["expected"])
        assert all(low <= high for low, high in zip(curve["low"], curve["high"], strict=True))
    assert [len(d) for d in result.summary["differences"].values()] == [24]


def test_the_same_sweep_runs_nothing_and_a_larger_one_goes_on(surface: Path, database: Path) -> None:
    first = sweep(surface, database, 4)
    assert first.ran == 8 + 6
    with open_reader(database) as reader:
        seeds = reader.query("SELECT DISTINCT arm LIKE '%-tuned', seed FROM trials ORDER BY ALL").rows
    assert seeds == [(False, 10_000), (True, 0), (True, 1), (True, 2)], "the comparison is judged on new seeds"
    (verdict,) = first.verdicts
    assert (verdict.n, verdict.verdict, verdict.adjusted_p) == (3, "conditional", None)
    assert verdict.claim_id.startswith("tiny-tuned-known-better")
    again = sweep(surface, database, 4)
    assert again.ran == 0
    assert draws(again) == draws(first)
    larger = sweep(surface, database, 6)
    assert larger.sweep_id == first.sweep_id
    assert {arm: points[:4] for arm, points in draws(larger).items()} == draws(first)


@pytest.mark.parametrize(
    ("sampler", "pruner", "seeds", "budgets"),
    [
        ("random", "none", 2, (2, 4)),
        pytest.param("tpe", "none", 1, (3, 7, 10), marks=pytest.mark.full),
        pytest.param("tpe", "median", 3, (3, 7, 10), marks=pytest.mark.full),
    ],
)
def test_a_sweep_in_pieces_is_what_a_whole_one_is(
    surface: Path, tmp_path: Path, sampler: str, pruner: str, seeds: int, budgets: tuple[int, ...]
) -> None:
    how: dict[str, Any] = {"sampler": sampler, "pruner": pruner, "seeds": seeds, "fresh": 2}
    whole = sweep(surface, tmp_path / "a.duckdb", budgets[-1], **how)
    for budget in budgets:
        pieces = sweep(surface, tmp_path / "b.duckdb", budget, **how)
    assert draws(pieces) == draws(whole)
    assert states(pieces) == states(whole)
    assert pieces.chosen == whole.chosen
    if pruner != "none":
        assert "pruned" in {status for arm in states(whole).values() for status, _ in arm}


def test_an_infinite_choice_survives_the_store(surface: Path, database: Path) -> None:
    surface.write_text(surface.read_text().replace("momentum: {choices: [0.0]}", "momentum: {choices: [0.0, .inf]}"))
    first, again = sweep(surface, database, 4), sweep(surface, database, 4)
    assert again.ran == 0
    assert draws(again) == draws(first)
    assert math.inf in {params["optimizer.momentum"] for params in draws(first)["base"]}


def test_changed_content_is_a_new_sweep_on_the_same_draws(surface: Path, database: Path) -> None:
    request = SweepRequest(database=database, benchmark="known", budget=4)
    before = make_tuning(load_suite(surface), request.tuning)
    surface.write_text(surface.read_text().replace("effect: 3.0", "effect: 2.0"))
    after = make_tuning(load_suite(surface), request.tuning)
    assert before.sweep_id != after.sweep_id
    first, again = (Drawing.of(tuning, "base").draw(range(4), []) for tuning in (before, after))
    assert [point.params for point in first] == [point.params for point in again]


ARM = Arm(role="method", optimizer="adam", norm={"encoder": "power", "decoder": "layer", "language": {"name": "power"}})


def test_a_space_is_what_methods_declare_and_the_suite_changes() -> None:
    lr = SpaceRange(low=0.1, high=0.2)
    every = {"optimizer.lr": lr, "batch_size": SpaceRange(choices=[1, 2])}
    spaces = spaces_of({"one": ARM}, {}, {"*": every, "one": {"optimizer.weight_decay": None}})
    declared = {f"norm.power.{name}" for name in ("alpha_fwd", "alpha_bkw", "warmup_fraction")}
    assert set(spaces["one"]) == {"optimizer.lr", "batch_size"} | declared
    assert spaces["one"]["optimizer.lr"] == lr
    fixed = Arm(role="ablation", optimizer={"name": "adam", "weight_decay": 0.0})
    assert set(spaces_of({"one": fixed}, {}, {})["one"]) == {"optimizer.lr"}
    with pytest.raises(HarnessError, match="nothing to tune"):
        spaces_of({"one": Arm(role="method")}, {}, {})


def test_a_point_fills_slots_places_and_recipe_keys() -> None:
    params = {"optimizer.lr": 0.5, "norm.power.alpha_fwd": 0.8, "batch_size": 16, "recipe.steps": 9}
    arm = with_point(ARM, {}, params)
    assert arm.optimizer == {"name": "adam", "lr": 0.5}
    power = {"name": "power", "alpha_fwd": 0.8}
    assert arm.norm == {"encoder": power, "decoder": "layer", "language": power}
    assert arm.set == {"batch_size": 16, "steps": 9}
    expected = {"name": "sgd", "lr": 1.0}
    assert with_point(Arm(role="method"), {"optimizer": "sgd"}, {"optimizer.lr": 1.0}).optimizer == expected
    for key, message in (
        ("norm.alpha_fwd", "norm.power.alpha_fwd"),
        ("norm.rms.eps", "filled per place"),
        ("objective.x", "leaves that slot open"),
        ("optimizer.sgd.lr", "the slot has 'adam'"),
    ):
        with pytest.raises(HarnessError, match=message):
            with_point(ARM, {}, {key: 1.0})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("arms: [base, bettr]", "no arm 'bettr'; did you mean 'better'"),
        ("benchmarks: [knwn]", "no benchmark 'knwn'; did you mean 'known'"),
        ("metric: scor", "no metric 'scor'; did you mean 'score'"),
        ("selection_metric: distanc", "no metric 'distanc'; did you mean 'distance'"),
        ("set: {stepz: 3}", "unknown recipe key 'stepz'; did you mean 'steps'"),
        ('spaces: {"*": {optimizer.sgdd.lr: null}}', "unknown optimizer 'sgdd'; did you mean 'sgd'"),
        ('spaces: {"*": {batch_size: {choices: [0]}}}', "at least 1 is expected"),
        ('spaces: {"*": {evaluation: {choices: [1]}}}', "did you mean 'evaluations'"),
        ("spaces: {bettr: {optimizer.lr: null}}", "no arm 'bettr'"),
        ('spaces: {"*": {optimizer.lr: {low: 1.0}}}', "give 'choices', 'factors', or 'low' and 'high'"),
    ],
)
def test_a_broken_section_is_reported_with_its_place(tiny: Path, changed: str, message: str) -> None:
    tiny.write_text(
        f"{tiny.read_text()}\nsweep:\n  {changed}\n" + ("" if "metric" not in changed else "  benchmarks: [known]\n")
    )
    with pytest.raises(SuiteError) as error:
        load_suite(tiny)
    assert message in str(error.value)
    assert "tiny.yaml:" in str(error.value)


def test_diverged_points_stay_and_count(surface: Path, database: Path) -> None:
    surface.write_text(surface.read_text().replace("curvature: 4.0", "curvature: 4.0, diverges_above: 0.3"))
    result = sweep(surface, database, 12)
    states = {point.status for points in result.points.values() for point in points}
    assert states == {"told", "diverged"}
    assert result.summary["equal"]
    with open_reader(database) as reader:
        assert reader.query("SELECT count(*) FROM trials WHERE status = 'diverged'").rows[0][0] > 0


def test_unequal_budgets_make_the_comparison_invalid(surface: Path, database: Path) -> None:
    surface.write_text(surface.read_text().replace("better, effect: 3.0}", "better, effect: 3.0, fails: true}"))
    result = sweep(surface, database, 4)
    assert result.summary["told"] == {"base": 4, "better": 0}
    assert not result.summary["equal"]
    (verdict,) = result.verdicts
    assert verdict.verdict == "invalid"
    assert "base 4" in verdict.detail.reason
    assert "better 0" in verdict.detail.reason


@pytest.mark.parametrize("missing", ["nothing", "a configuration", "a failed one", "a rung", "a pruned rung"])
def test_budgets_are_equal_in_configurations_and_rungs(surface: Path, database: Path, missing: str) -> None:
    request = SweepRequest(database=database, benchmark="known", budget=4, seeds=2)
    tuning = make_tuning(load_suite(surface), request.tuning)
    points = {arm: Drawing.of(tuning, arm).draw(range(4), []) for arm in ("base", "better")}
    for point in (*points["base"], *points["better"]):
        point.status, point.value, point.trial_ids = "told", float(point.number), ["", ""]
    last = points["better"][-1]
    if missing == "a configuration":
        points["better"].pop()
    last.status = {"a failed one": "failed", "a pruned rung": "pruned"}.get(missing, "told")
    if missing in ("a rung", "a pruned rung"):
        last.trial_ids.pop()
    assert summarise(tuning, points, 4)["equal"] == (missing in ("nothing", "a pruned rung"))


def test_the_best_point_is_the_best_on_validation(surface: Path) -> None:
    tuning = make_tuning(load_suite(surface), TuningRequest("known", 3))
    points = [Point(0, {"a": 1}, 2.0, "told"), Point(1, {"a": 2}, 5.0, "told"), Point(2, {"a": 3}, 9.0, "failed")]
    assert best_point(tuning, points)["params"] == {"a": 2}
    assert best_point(tuning, []) == {}


def test_pruned_points_count_as_finished(surface: Path, database: Path) -> None:
    result = sweep(surface, database, 12, sampler="tpe", pruner="median", seeds=3)
    assert result.summary["equal"]
    assert "curves" not in result.summary
    states = {point.status for points in result.points.values() for point in points}
    assert states == {"told", "pruned"}


def test_a_bad_point_is_pruned_and_a_good_one_is_not() -> None:
    how = drawing(sampler="tpe")
    before = how.draw(range(8), [])
    for point in before:
        point.status, point.value, point.rungs = "told", 1.0, {1: 1.0, 2: 1.0}
    bad, good = Point(9, before[0].params, rungs={1: 0.0}), Point(9, before[0].params, rungs={1: 2.0})
    assert should_prune(how, before, bad)
    assert not should_prune(how, before, good)
    assert not should_prune(how, before[:3], bad)


def test_wrong_requests_are_reported_before_anything_runs(surface: Path, database: Path) -> None:
    for more in (
        {"arms": ("base",)},
        {"sampler": "random", "pruner": "median"},
        {"scale": "small"},
        {"sampler": "gp"},
        {"sampler": "tpe", "pruner": "hyperband"},
        {"arms": ("x", "y")},
    ):
        with pytest.raises(HarnessError):
            sweep(surface, database, 4, **more)
    surface.write_text(surface.read_text().replace("optimizer.momentum:", "optimizer.momentun:"))
    with pytest.raises(SuiteError, match="no 'momentun' to tune; did you mean 'momentum'"):
        load_suite(surface)


def start(surface: Path, database: Path) -> subprocess.Popen[bytes]:
    options = f"--benchmark known --budget 8 --sampler tpe --executor inline --quiet --db {database}"
    command = [sys.executable, "-m", "harness", "sweep", str(surface), *shlex.split(options)]
    return subprocess.Popen(command, cwd=surface.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.full
def test_kills_lose_no_point_and_change_no_draw(surface: Path, tmp_path: Path) -> None:
    surface.write_text(surface.read_text().replace("steps: 2", "steps: 10, step_seconds: 0.02"))
    whole = sweep(surface, tmp_path / "whole.duckdb", 8, sampler="tpe")
    database = tmp_path / "killed.duckdb"

    def points() -> int:
        if not database.exists():
            return 0
        with open_reader(database) as reader:
            return int(reader.query("SELECT count(*) FROM sweep_points").rows[0][0])

    for more in (2, 4):
        before = points()
        process = start(surface, database)
        until(lambda: process.poll() is not None or points() >= before + more)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert points() >= before
    resumed = sweep(surface, database, 8, sampler="tpe")
    assert draws(resumed) == draws(whole)
    values = {arm: [point.value for point in points] for arm, points in resumed.points.items()}
    assert values == {arm: [point.value for point in points] for arm, points in whole.points.items()}


def test_a_custom_class_is_tuned_like_an_arm(surface: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (surface.parent / "my.py").write_text(
        "import torch\n\n\nclass Half(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=0.1, momentum=0.0, weight_decay=0.0):\n"
        "        super().__init__(params, lr / 2, momentum, weight_decay=weight_decay)\n"
    )
    mine = f"mine={surface.parent / 'my.py'}:Half"
    options = shlex.split("--benchmark known --arm base --budget 3 --quiet --executor inline --json")
    assert run_main(["sweep", str(surface), *options, "--arm", mine, "--db", str(database)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["told"] == {"base": 3, "mine": 3}
    assert set(result["chosen"]) == {"base", "mine"}
    assert run_main(["sweep", str(surface), "--benchmark", "known", "--arm", f"base={mine[5:]}", "--budget", "2"]) == 2
    assert "has an arm 'base'; take another name" in capsys.readouterr().err


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
    steps = zip(free["low"], free["middle"], free["high"], strict=True)
    assert all(low <= middle <= high for low, middle, high in steps)
    assert all(math.isfinite(end) for end in (*bounded["low"], *bounded["high"]))


def test_a_difference_and_its_band_are_of_one_quantity() -> None:
    values = {"base": np.zeros(9), "other": np.array([0.0] * 8 + [90.0])}
    free = budget_curves(values, 1.0, (-math.inf, math.inf))
    assert free["differences"]["other − base"][0] == 0.0  # medians; the means differ by 10
    bounded = budget_curves(values, 1.0, (0.0, 100.0))
    assert bounded["differences"]["other − base"][0] == pytest.approx(10.0)
