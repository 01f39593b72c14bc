"""One check of values wherever they are given: ``--set``, ``set:`` in files, ranges of sweeps, ablations."""

import json
import re
from pathlib import Path

import pytest

from harness.cli.group import run_main
from harness.errors import HarnessError, SuiteError
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite

MISTAKES = {
    "a value outside the choices": ("schedule", "cosin", "'schedule' is 'cosin'; did you mean 'cosine'?"),
    "an unknown key": ("stepz", "3", "unknown recipe key 'stepz'; did you mean 'steps'?"),
    "a hyper-parameter without its method": ("momentum", "0", "methods take it as optimizer.sgd.momentum"),
    "a wrong type": ("steps", "abc", "'steps' is 'abc'; a whole number is expected"),
    "below the limit": ("batch_size", "-3", "'batch_size' is -3; at least 1 is expected"),
    "a wrong element of a list": ("milestones", "[0.5, a]", "'milestones[1]' is 'a'; a number is expected"),
    "an empty element of a list": ("milestones", "[null]", "'milestones[0]' is empty; a number is expected"),
    "a wrong element of a pair": ("optimizer.adam.betas", "[0.9, x]", "'betas[1]' is 'x'; a number is expected"),
    "an empty value": ("batch_size", "null", "'batch_size' is empty; a whole number is expected"),
    "an unknown key of the data": ("data.nosuch", "1", "unknown key 'nosuch' of the data 'nothing'"),
    "an unknown key of the model": ("model.nosuch", "2", "unknown key 'nosuch' of the model 'scalar'"),
    "unknown data": ("data.name", "nothin", "unknown data 'nothin'; did you mean 'nothing'?"),
    "data that the task cannot read": ("data.name", "digits", "the task 'synthetic' cannot read the data 'digits'"),
    "a family that does not exist": ("optimizer.sdg.lr", "1", "no family or method 'sdg'; did you mean 'sgd'?"),
    "an unknown hyper-parameter": ("optimizer.sgd.momentun", "0", "did you mean 'momentum'?"),
    "a wrong hyper-parameter": ("optimizer.sgd.momentum", "fast", "'momentum' is 'fast'; a number is expected"),
    "a number where hyper-parameters are due": ("optimizer.sgd", "3", "a mapping of hyper-parameters is expected"),
    "a mapping where a number is due": ("steps.first", "3", "'steps' is {'first': 3}; a whole number is expected"),
    "an unknown slot": ("slots.optimiser", "sgd", "no slot 'optimiser'; did you mean 'optimizer'?"),
    "an unknown method in a slot": ("slots.optimizer", "sdg", "unknown optimizer 'sdg'; did you mean 'sgd'?"),
}


def edited(tiny: Path, old: str, new: str) -> Path:
    text = tiny.read_text()
    assert old in text
    tiny.write_text(text.replace(old, new, 1))
    return tiny


@pytest.mark.parametrize("kind", MISTAKES)
def test_an_override_of_a_command(kind: str, tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, value, message = MISTAKES[kind]
    for command in (["plan"], ["run", "--executor", "inline", "--quiet"]):
        assert run_main([*command, str(tiny), "--set", f"{key}={value}"]) == 2
        shown = capsys.readouterr().err
        assert f"--set {key}: {message}" in shown or (f"--set {key}: " in shown and message in shown)
    assert not database.exists()


@pytest.mark.parametrize("where", ["arm", "benchmark", "sweep", "ablation"])
@pytest.mark.parametrize("kind", MISTAKES)
def test_the_same_in_a_file_with_its_place(kind: str, where: str, tiny: Path) -> None:
    key, value, message = MISTAKES[kind]
    if where == "ablation" and key.split(".")[0] == "optimizer":
        key = f"recipe.{key}"  # without it, a hyper-parameter of the arm's own optimizer
    if where == "arm":
        edited(tiny, "set: {noise_key: base}", f"set: {{{key}: {value}}}")
    elif where == "benchmark":
        edited(tiny, "  known:\n", f"  known:\n    set: {{{key}: {value}}}\n")
    elif where == "sweep":
        tiny.write_text(f"{tiny.read_text()}sweep: {{set: {{{key}: {value}}}}}\n")
    else:
        levels = f"{{off: {{{key}: {value}}}}}"
        tiny.write_text(f"{tiny.read_text()}ablate: {{base: {{design: one-change, factors: {{f: {levels}}}}}}}\n")
    with pytest.raises(SuiteError) as raised:
        load_suite(tiny)
    (problem,) = raised.value.problems
    assert message in problem.message
    line = tiny.read_text().splitlines()[problem.place.line - 1]
    assert line[problem.place.column - 1 :].startswith(f"{key}: {value}")


def test_every_wrong_override_is_told_at_once(tiny: Path) -> None:
    with pytest.raises(HarnessError) as raised:
        make_plan(load_suite(tiny), Selection(overrides={"schedule": "cosin", "lrr": 1}))
    assert [re.match(r"--set (\w+): ", line)[1] for line in str(raised.value).splitlines()] == ["schedule", "lrr"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ("schedule: {choices: [cosine, cosin]}", "'schedule' is 'cosin'"),
        ("steps: {low: 0, high: 9, integer: true}", "'steps' is 0.0; a whole number is expected"),
        ("steps: {low: 9, high: 2, integer: true}", "low < high is expected, and above 0"),
        ("data.nosuch: {low: 0, high: 1}", "unknown key 'nosuch' of the data 'nothing'"),
        ("model.nosuch: {choices: [1]}", "unknown key 'nosuch' of the model 'scalar'"),
        ("optimizer.sgd.momentun: {low: 0, high: 1}", "no 'momentun' to tune; did you mean 'momentum'?"),
    ],
)
def test_ranges_reach_valid_values_only(spaces: str, message: str, tiny: Path) -> None:
    tiny.write_text(f'{tiny.read_text()}sweep:\n  benchmarks: [known]\n  spaces: {{"*": {{{spaces}}}}}\n')
    with pytest.raises(SuiteError) as raised:
        load_suite(tiny)
    (problem,) = raised.value.problems
    assert message in problem.message
    assert tiny.read_text().splitlines()[problem.place.line - 1][problem.place.column - 1 :].startswith(spaces)


@pytest.fixture
def two_tasks(tiny: Path) -> Path:
    """The tiny suite without overrides, and a second benchmark of another task."""
    digits = """
  digits:
    define:
      benchmark: digits
      title: Digits
      task: classification
      metrics: {top1-accuracy: {unit: percent, better: higher}}
      mini: {data: {name: digits}, model: {name: bn-cnn}, recipe: {epochs: 2}}
facts:"""
    edited(tiny, ", set: {noise_key: base}", "")
    edited(tiny, ", set: {noise_key: better, effect: 3.0}", "")
    return edited(tiny, "\nfacts:", digits)


def test_a_key_that_some_benchmarks_lack_names_the_first_and_those_that_take_it(two_tasks: Path) -> None:
    suite = load_suite(two_tasks)
    overrides = {"frozen_bn": True}
    message = "--set frozen_bn: benchmark 'known' does not take it: .*--benchmark: digits"
    with pytest.raises(HarnessError, match=message):
        make_plan(suite, Selection(overrides=overrides))
    plan = make_plan(suite, Selection(benchmarks=("digits",), overrides=overrides))
    assert all(trial.spec.recipe["frozen_bn"] for trial in plan.trials)


def test_a_length_replaces_the_other_one(two_tasks: Path) -> None:
    plan = make_plan(load_suite(two_tasks), Selection(overrides={"steps": 7}))
    assert {(trial.spec.recipe["steps"], trial.spec.recipe["epochs"]) for trial in plan.trials} == {(7, None)}


def test_another_source_does_not_take_the_options_of_the_first(two_tasks: Path) -> None:
    edited(two_tasks, "data: {name: digits}", "data: {name: digits, noise: 0.1}")
    chosen = Selection(benchmarks=("digits",), overrides={"data.name": "cifar10"})
    with pytest.raises(HarnessError, match="unknown key 'noise' of the data 'cifar10'"):
        make_plan(load_suite(two_tasks), chosen)


def test_what_an_arm_leaves_open_is_told_at_the_arm(tiny: Path) -> None:
    edited(tiny, "role: baseline, optimizer: {name: sgd, lr: 0.1}", "role: baseline")
    with pytest.raises(SuiteError, match=r"tiny.yaml:5:3: on benchmark 'known' at mini: the slot 'optimizer' is open"):
        load_suite(tiny)


def test_the_kinds_of_lists_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["list", "metods"]) == 2
    assert "did you mean 'methods'?" in capsys.readouterr().err


UNTUNED = "optimizer: {sgd: {lr: 0.1}}"


@pytest.fixture
def unequal(tiny: Path) -> Path:
    """The recipe gives SGD its learning rate; the other arm is Adam at its default."""
    edited(tiny, "optimizer: {name: sgd, lr: 0.1}", "optimizer: sgd")
    edited(tiny, "optimizer: {name: sgd, lr: 0.1}", "optimizer: adam")
    return edited(tiny, "own_sd: 0.3", f"own_sd: 0.3, {UNTUNED}")


def test_an_arm_that_the_recipe_leaves_untuned_is_a_warning(unequal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = (
        "on benchmark 'known' the recipe's optimizer.sgd.lr tunes 'base', but 'better' keeps the default lr of adam "
        "(0.001)"
    )
    assert run_main(["validate", str(unequal)]) == 0
    shown = capsys.readouterr()
    assert f"tiny.yaml:6:3: {message} at mini" in shown.err
    assert "1 benchmark, 2 arms, 1 claim\n" in shown.out
    assert run_main(["plan", str(unequal)]) == 0
    assert f"warning: {message}" in capsys.readouterr().err
    assert run_main(["plan", str(unequal), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == [message]
    assert run_main(["plan", str(unequal), "--arm", "base"]) == 0
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (UNTUNED, "optimizer: {sgd: {lr: 0.1}, adam: {lr: 0.01}}"),
        ("optimizer: adam", "optimizer: {name: adam, lr: 0.01}"),
        ("noise_key: better", "noise_key: better, optimizer.adam.lr: 0.01"),
        ("role: method, optimizer: adam", "role: ablation, optimizer: adam"),
    ],
)
def test_no_warning_where_both_are_tuned_or_neither(
    old: str, new: str, unequal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(["validate", str(edited(unequal, old, new))]) == 0
    assert "warning" not in capsys.readouterr().err


def test_an_option_that_is_no_number_is_not_tuning(unequal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited(unequal, "optimizer: sgd", "optimizer: {name: sgd, lr: 0.1}")
    edited(unequal, UNTUNED, "optimizer: {sgd: {nesterov: true}}")
    edited(unequal, "optimizer: adam", "optimizer: adamp")  # which has 'nesterov' too
    assert run_main(["validate", str(unequal)]) == 0
    assert "warning" not in capsys.readouterr().err
