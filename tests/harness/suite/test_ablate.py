"""``ablate:``: designs that expand to arms, errors at their places, and effects that are those put in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge_support import World, around, benchmark, binding, fact, write_suite

from harness import stats
from harness.cli.group import run_main
from harness.errors import SuiteError
from harness.judge import ablations
from harness.judge.ablation import effects_of
from harness.plan.planning import Selection, make_plan
from harness.store import open_reader
from harness.suite import Suite, load_suite
from harness.suite.ablate import designs_of

FACTORS = "{momentum: {off: {optimizer.momentum: 0.0}}, level: {low: {level: 10.0}, high: {level: 90.0}}}"
ONE_LEVEL = "{momentum: {off: {optimizer.momentum: 0.0}}, level: {low: {level: 10.0}}}"
BETTER = "better: {role: method, optimizer: {name: sgd, lr: 0.1, momentum: 0.9}"
SINGLE = dict.fromkeys(("better-no-momentum", "better-level-low", "better-level-high"), "better")
JOINT = ("better-no-momentum-level-low", "better-no-momentum-level-high")


def with_ablation(folder: Path, text: str, ablate: str, edit: Callable[[str], str] = str) -> Suite:
    path = folder / "ablated.yaml"
    text = text.replace("better: {role: method, optimizer: {name: sgd, lr: 0.1}", BETTER)
    path.write_text(edit(text) + f"ablate:\n  {ablate}\n", encoding="utf-8")
    return load_suite(path)


def generated(suite: Suite) -> dict[str, str | None]:
    return {name: arm.parent for name, arm in suite.model.arms.items() if arm.role == "ablation"}


@pytest.mark.parametrize(
    ("design", "factors", "expected"),
    [
        ("leave-one-out", ONE_LEVEL, {"better-no-momentum": "better", "better-level-low": "better"}),
        ("one-change", FACTORS, SINGLE),
        ("cumulative", ONE_LEVEL, {"better-no-momentum": "better", JOINT[0]: "better-no-momentum"}),
        ("factorial", FACTORS, SINGLE | dict.fromkeys(JOINT, "better")),
    ],
)
def test_designs(tmp_path: Path, tiny_text: str, design: str, factors: str, expected: dict[str, str]) -> None:
    suite = with_ablation(tmp_path, tiny_text, f"better: {{design: {design}, factors: {factors}}}")
    assert generated(suite) == expected
    created = suite.model.arms["better-no-momentum"]
    assert created.optimizer == {"name": "sgd", "lr": 0.1, "momentum": 0.0}
    assert created.set == suite.model.arms["better"].set
    assert {arm for _, arm in make_plan(suite, Selection(seeds=(0,))).cells} == {"base", "better", *expected}


def test_designs_share_arms_and_use_those_that_exist(tmp_path: Path, tiny_text: str) -> None:
    written = "arms:\n  by-hand: {role: ablation, optimizer: {momentum: 0.0, lr: 0.1, name: sgd},"
    written += " set: {effect: 3.0, noise_key: better}}"
    entries = f"better: [{{design: cumulative, factors: {ONE_LEVEL}}}, {{design: factorial, factors: {ONE_LEVEL}}}]"
    suite = with_ablation(tmp_path, tiny_text, entries, lambda text: text.replace("arms:", written, 1))
    assert set(generated(suite)) == {"by-hand", "better-no-momentum-level-low", "better-level-low"}
    cumulative, factorial = designs_of(suite.model)
    assert cumulative.cells["off", None] == factorial.cells["off", None] == "by-hand"
    assert cumulative.parents["off", "low"] == "by-hand"
    assert factorial.parents["off", "low"] == "better"


def test_an_ablation_runs_where_it_is_asked_for(tmp_path: Path, tiny_text: str) -> None:
    block = tiny_text[tiny_text.index("  known:\n") : tiny_text.index("facts:")]
    third = block.replace("known", "third").replace("    define:", "    arms: [base]\n    define:", 1)
    text = tiny_text.replace("facts:", block.replace("known", "other") + third + "facts:")
    own = with_ablation(tmp_path, text, f"better: {{design: one-change, factors: {ONE_LEVEL}}}")
    ablated = {"better-no-momentum", "better-level-low"}
    where = {name for name, arm in make_plan(own, Selection(seeds=(0,))).cells if arm in ablated}
    assert where == {"known", "other"}  # where the arm itself runs
    named = f"better: {{design: one-change, benchmarks: [third], factors: {ONE_LEVEL}}}"
    cells = make_plan(with_ablation(tmp_path, text, named), Selection(seeds=(0,))).cells
    assert {name for name, arm in cells if arm in ablated} == {"third"}
    assert ("other", "base") in cells


BROKEN = {
    "an unknown arm": (
        "bettr: {design: factorial, factors: {a: {off: {level: 1.0}}}}",
        "did you mean 'better'",
        "bettr",
    ),
    "an unknown design": ("better: {design: factorail, factors: {a: {off: {level: 1.0}}}}", "valid: ", "design"),
    "an unknown benchmark": (
        "better: {design: factorial, benchmarks: [knwn], factors: {a: {off: {level: 1.0}}}}",
        "did you mean 'known'",
        "benchmarks:",
    ),
    "no factors": ("better: {design: factorial, factors: {}}", "factors", "factors"),
    "no changes": ("better: {design: factorial, factors: {a: {off: {}}}}", "at least 1", "off"),
    "two levels": (
        "better: {design: leave-one-out, factors: {a: {off: {level: 1.0}, on: {level: 2.0}}}}",
        "one level a factor",
        "a: {off",
    ),
    "unknown hyper-parameter": (
        "better: {design: factorial, factors: {a: {off: {optimizer.momentun: 0.0}}}}",
        "did you mean 'momentum'",
        "optimizer.momentun",
    ),
    "unknown recipe key": (
        "better: {design: factorial, factors: {a: {off: {levle: 0.0}}}}",
        "did you mean 'level'",
        "levle",
    ),
    "a wrong type": (
        "better: {design: factorial, factors: {a: {off: {optimizer.momentum: fast}}}}",
        "a number is expected",
        "optimizer.momentum",
    ),
    "an open slot": (
        "better: {design: factorial, factors: {a: {off: {norm.momentum: 0.5}}}}",
        "does not fill the slot 'norm'",
        "off",
    ),
    "nothing changed": (
        "better: {design: factorial, factors: {a: {off: {optimizer.momentum: 0.9}}}}",
        "change nothing",
        "off",
    ),
    "one key twice": (
        "better: {design: factorial, factors: {a: {off: {level: 1.0}}, b: {off: {level: 2.0}}}}",
        "cannot be separated",
        "level: 2.0",
    ),
    "too large": (
        "better: {design: factorial, factors: {"
        + ", ".join(f"f{i}: {{off: {{optimizer.k{i}: 1}}}}" for i in range(7))
        + "}}",
        "at most 64",
        "factors",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_problems_have_their_places(tmp_path: Path, tiny_text: str, kind: str) -> None:
    ablate, message, at = BROKEN[kind]
    with pytest.raises(SuiteError) as raised:
        with_ablation(tmp_path, tiny_text, ablate)
    (problem,) = raised.value.problems
    lines = (tmp_path / "ablated.yaml").read_text(encoding="utf-8").splitlines()
    assert message in problem.message
    assert lines[problem.place.line - 1][problem.place.column - 1 :].startswith(at)


@pytest.mark.parametrize(
    ("parents", "message"),
    [(("bettr", None), "did you mean 'better'"), (("two", "one"), "in a circle"), (("one", None), "in a circle")],
)
def test_parents_are_checked(tmp_path: Path, tiny_text: str, parents: tuple[str, str | None], message: str) -> None:
    arms = "arms:\n"
    for name, parent, momentum in zip(("one", "two"), parents, (0.1, 0.2), strict=True):
        own = f"parent: {parent}, " if parent else ""
        arms += f"  {name}: {{role: ablation, {own}optimizer: {{name: sgd, lr: 0.1, momentum: {momentum}}}}}\n"
    path = tmp_path / "parents.yaml"
    path.write_text(tiny_text.replace("arms:\n", arms, 1), encoding="utf-8")
    with pytest.raises(SuiteError, match=message) as raised:
        load_suite(path)
    line = path.read_text(encoding="utf-8").splitlines()[raised.value.problems[0].place.line - 1]
    assert "parent:" in line


ABLATE = (
    "ablate:\n  ours: {design: factorial, factors: {momentum: {off: {optimizer.momentum: 0.5}}, "
    "size: {small: {optimizer.weight_decay: 0.1}, large: {optimizer.weight_decay: 0.3}}}}\n"
)
TRUTH: dict[tuple[str | None, str | None], float] = {
    (None, None): 4.0,
    ("off", None): 3.0,
    (None, "small"): 2.0,
    ("off", "small"): -1.0,
    (None, "large"): 1.0,
    ("off", "large"): 0.0,
}


def factorial_world(folder: Path, better: str = "higher") -> tuple[World, np.ndarray]:
    """Scores of a factorial with fixed means and shared seeds."""
    where = benchmark("a", metric=f"{{unit: percent, better: {better}}}")
    suite = write_suite(folder, [fact("c", better=better)], [binding("c")], benchmarks=where)
    suite.path.write_text(suite.path.read_text(encoding="utf-8") + ABLATE, encoding="utf-8")
    suite = load_suite(suite.path)
    (design,) = designs_of(suite.model)
    rng = np.random.default_rng(5)
    shared = 50 + 5 * rng.standard_normal(6)
    scores = {
        ("a", arm): (shared + TRUTH[cell[0], cell[1]] + 0.1 * rng.standard_normal(6)).tolist()
        for cell, arm in design.cells.items()
    }
    scores["a", "base"] = around(0.0, 0.1, 6)
    table = np.array(
        [[scores["a", design.cells[row, size]] for size in (None, "small", "large")] for row in (None, "off")]
    )
    return World(suite, scores), table


def test_weights_are_those_of_contrasts(tmp_path: Path) -> None:
    world, _ = factorial_world(tmp_path)
    (design,) = designs_of(world.suite.model)
    effects = {effect.name: effect for effect in effects_of(design)}
    assert list(effects) == [
        "momentum: off",
        "size: small",
        "size: large",
        "momentum: off × size: small",
        "momentum: off × size: large",
    ]
    assert all(sum(effect.weights.values()) == pytest.approx(0) for effect in effects.values())
    assert effects["momentum: off"].weights["off", "large"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_main_effects_and_interactions(tmp_path: Path, database: Path, better: str) -> None:
    world, table = factorial_world(tmp_path, better)
    world.store(database)
    with open_reader(database) as reader:
        rows = ablations(world.suite, world.plan, reader)
    sign = 1 if better == "higher" else -1
    by_name = {row.arm: row for row in rows}
    own = sign * (table[1] - table[0])  # by size and seed
    size = sign * (table[:, 1] - table[:, 0])  # by momentum and seed
    expected = {
        "momentum: off": own.mean(axis=0),
        "size: small": size.mean(axis=0),
        "momentum: off × size: small": own[1] - own[0],
        "ours-no-momentum": own[0],
    }
    for name, values in expected.items():
        test = stats.paired_t(values)
        result = by_name[name]
        assert [result.n, result.difference, result.ci_low, result.ci_high, result.p] == pytest.approx(
            [6, test.estimate, test.low, test.high, test.p]
        )
    assert by_name["momentum: off"].difference == pytest.approx(-5 / 3 * sign, abs=0.2)
    assert [row.effect for row in rows].count("change") == 5
    assert {row.effect for row in rows} == {"change", "main effect", "interaction"}
    assert [row.adjusted_p for row in rows] == pytest.approx(list(stats.benjamini_hochberg([row.p for row in rows])))
    assert {row.label for row in rows} == {"exploratory"}


def test_a_seed_that_lacks_one_arm_leaves_every_contrast_of_it(tmp_path: Path, database: Path) -> None:
    world, table = factorial_world(tmp_path)
    scores: dict[tuple[str, str], Any] = {cell: list(values) for cell, values in world.scores.items()}
    scores["a", "ours-no-momentum-size-large"][2] = "failed"
    World(world.suite, scores).store(database)
    with open_reader(database) as reader:
        by_name = {row.arm: row for row in ablations(world.suite, world.plan, reader)}
    assert (by_name["momentum: off"].n, by_name["momentum: off"].missing) == (5, 1)
    assert by_name["momentum: off"].failed == 1
    kept = np.delete(table[1] - table[0], 2, axis=1).mean()
    assert by_name["momentum: off"].difference == pytest.approx(kept)
    assert by_name["momentum: off × size: small"].n == 6  # does not need that arm


def test_claims_show_ablations_and_correlations(
    tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _ = factorial_world(tmp_path)
    world.store(database)
    monkeypatch.setenv("COLUMNS", "200")
    requested = ["claims", str(world.suite.path), "--seeds", "6", "--db", str(database)]
    assert run_main([*requested, "--format", "json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert {row["effect"] for row in result["ablations"]} == {"change", "main effect", "interaction"}
    (verdict,) = result["verdicts"]
    ours, base = (np.asarray(world.scores["a", arm]) for arm in ("ours", "base"))
    assert verdict["design"]["effect"]["correlation"] == pytest.approx(np.corrcoef(ours, base)[0, 1])
    assert verdict["design"]["per_benchmark"][0]["correlation"] == verdict["design"]["effect"]["correlation"]
    assert run_main(requested) == 0
    shown = capsys.readouterr().out
    assert "momentum: off × size: large (interaction)" in shown
    assert f"{verdict['design']['effect']['correlation']:.2f}".replace("-", "−") in shown
