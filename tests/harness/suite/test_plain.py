"""Suites of plain data: the same model, the same messages, and back to a file."""

import contextlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
from harness.base.yaml_nodes import parse
from harness.errors import HarnessError, SuiteError
from harness.plan.planning import Selection, make_plan
from harness.registry.shipped import suite_files
from harness.suite import Suite, load_suite, suite_from_dict, suite_from_json, suite_to_json, suite_to_yaml
from harness.suite.models import Claim
from harness.suite.plain import node_of
from harness.vocabulary import Role

MINE: dict[str, Any] = {
    "suite": "mine",
    "arms": {
        "adam": {"optimizer": {"name": "adam", "lr": 1e-3}},
        "adamp": {"optimizer": {"name": "adamp", "lr": 0.001}},
    },
    "benchmarks": {
        "digits": {
            "task": "classification",
            "metrics": {"top1-accuracy": {"unit": "percent", "better": "higher"}},
            "data": {"name": "digits", "train": 100},
            "model": {"name": "bn-cnn", "widths": [4, 8], "strides": [1, 2]},
            "recipe": {"steps": 5, "batch_size": 16},
        }
    },
    "compare": [{"arm": "adamp", "against": ["adam"], "metric": "top1-accuracy", "primary": True}],
}


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    data = deepcopy(MINE)
    place: Any = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return data


def identities(suite: Suite, scale: str = "mini") -> list[dict[str, Any]]:
    return make_plan(suite, Selection(scale=scale, seeds=(0,))).identities()


@pytest.mark.parametrize("name", suite_files())
def test_a_shipped_suite_goes_out_and_comes_back(name: str, tmp_path: Path) -> None:
    """One file that stands alone: read in another folder it is the same suite, with the same trials."""
    suite = load_suite(name)
    file = tmp_path / "copy.yaml"
    file.write_text(suite_to_yaml(suite), encoding="utf-8")
    for copy in (load_suite(file), suite_from_dict(parse(file.read_text(), file).plain())):
        assert copy.facts == suite.facts
        assert copy.model.claims == suite.model.claims
        assert copy.model.arms == suite.model.arms
        assert copy.model.model_copy(update={"benchmarks": {}, "facts": [], "inherits": []}) == suite.model.model_copy(
            update={"benchmarks": {}, "facts": [], "inherits": []}
        )
    assert identities(copy) == identities(suite)
    assert suite_to_yaml(copy) == suite_to_yaml(suite)


SHORT = """
suite: mine
arms:
  adam: {values: {opt: adam, lr: 0.001}}
  adamp: {values: {opt: adamp, lr: 1e-3}}
benchmarks:
  digits:
    command: [python, train.py, --opt, "{arm.opt}", --lr, "{arm.lr}", --seed, "{seed}"]
    metrics: {accuracy: {unit: percent, better: higher}, loss: lower}
compare:
  - {arm: adamp, against: [adam], metric: accuracy, primary: true}
"""


def test_a_short_suite_goes_out_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('accuracy 1')\n")
    (tmp_path / "mine.yaml").write_text(SHORT)
    suite = load_suite(tmp_path / "mine.yaml")
    copy = suite_from_dict(parse(suite_to_yaml(suite), tmp_path).plain(), tmp_path)
    plain = suite_from_dict(parse(SHORT, tmp_path).plain(), tmp_path)
    assert identities(suite) == identities(copy) == identities(plain)
    assert suite.facts == copy.facts == plain.facts
    assert list(copy.facts) == ["adamp-over-adam"]


def test_python_and_yaml_are_one_suite(tmp_path: Path) -> None:
    suite = harness.suite_from_dict(MINE)
    file = tmp_path / "mine.yaml"
    file.write_text(suite_to_yaml(suite), encoding="utf-8")
    assert identities(harness.load_suite(file)) == identities(suite)
    assert suite.name == "mine"
    assert suite_to_yaml(suite).startswith("suite: mine\ntitle: mine\n")


def test_values_of_numpy_paths_words_and_tuples_are_plain(tmp_path: Path) -> None:
    data = changed(("arms", "adam"), {"role": Role.BASELINE, "optimizer": {"name": "adam", "lr": np.float64(0.001)}})
    data["benchmarks"]["digits"]["model"]["widths"] = (np.int64(4), 8)
    assert identities(suite_from_dict(data)) == identities(suite_from_dict(MINE))
    assert node_of({"a": tmp_path}).plain() == {"a": str(tmp_path)}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("arms", "adam", "optimizer"),
            "adm",
            r"^suite \(Python\), arms\.adam\.optimizer: unknown optimizer 'adm'; did you",
        ),
        (
            ("arms", "adam", "optimizer"),
            {"name": "adam", "lrr": 1},
            r"arms\.adam\.optimizer\.lrr: unknown hyper-parameter",
        ),
        (("titel",), "x", r"^suite \(Python\), titel: unknown key 'titel'; did you mean 'title'"),
        (("compare", 0, "against"), ["sgd"], r"compare\.0\.against: no arm 'sgd'; valid: adam, adamp"),
        (("seeds",), {"min": 0}, r"seeds\.min"),
        (("seeds",), {1: 2}, r"^suite \(Python\), seeds: the key 1 is an int; keys are text$"),
        (("arms", "adam", "set"), {"steps": {1, 2}}, r"arms\.adam\.set\.steps: a set is not a valid value"),
        (("arms", "adam", "set"), {"steps": np.ones(2)}, r"arms\.adam\.set\.steps: a ndarray is not a valid value"),
        (("benchmarks", "digits", "recipe", "steps"), float("nan"), r"recipe\.steps"),
        (("benchmarks",), {}, r"benchmarks"),
        (("inherits",), "none.yaml", r"^suite \(Python\), inherits: inherits '.*none\.yaml', which does not exist"),
    ],
)
def test_what_is_wrong_is_told_at_its_keys(path: tuple[Any, ...], value: Any, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        suite_from_dict(changed(path, value))


def test_what_is_no_suite_at_all() -> None:
    with pytest.raises(SuiteError, match=r"^suite \(Python\): a mapping of a suite's keys is expected, not a list$"):
        suite_from_dict([MINE])  # type: ignore[arg-type]
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(SuiteError, match="nested deeper than 50 levels"):
        suite_from_dict({**MINE, "arms": endless})


def test_it_inherits_from_files_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(suite_to_yaml(suite_from_dict(MINE)), encoding="utf-8")
    child = suite_from_dict({"suite": "child", "inherits": "parent.yaml", "seeds": {"min": 5}}, tmp_path)
    assert (child.name, child.model.seeds.min, list(child.facts)) == ("child", 5, ["adamp-over-adam"])
    assert "inherits" not in suite_to_yaml(child)


@pytest.mark.parametrize("name", suite_files())
def test_the_stored_form_is_lossless(name: str) -> None:
    suite = load_suite(name)
    copy = suite_from_json(suite_to_json(suite))
    assert (copy.model, copy.facts, copy.path) == (suite.model, suite.facts, suite.path)
    assert {key: (item.model, item.used) for key, item in copy.benchmarks.items()} == {
        key: (item.model, item.used) for key, item in suite.benchmarks.items()
    }
    for scale in ("smoke", "mini", "small", "paper"):
        assert identities(copy, scale) == identities(suite, scale)
    assert suite_to_json(copy) == suite_to_json(suite)


def test_a_custom_class_is_stored_with_its_suite(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(
        "import torch\nclass Own(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=0.1):\n        super().__init__(params, lr)\n"
    )
    own = changed(("arms", "adamp"), {"optimizer": {"file": "my.py", "class": "Own", "lr": 0.2}})
    suite = suite_from_dict(own, tmp_path)
    copy = suite_from_json(suite_to_json(suite))
    assert copy.own_methods == suite.own_methods != ()
    assert identities(copy) == identities(suite)


def test_a_suite_of_a_later_version_is_refused() -> None:
    stored = {**json.loads(suite_to_json(suite_from_dict(MINE))), "version": 99}
    with pytest.raises(HarnessError, match="a later version"):
        suite_from_json(json.dumps(stored))


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2)
anything = st.recursive(
    leaves,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), below, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*MINE, "seeds", "ablate", "facts", "claims"]), anything)
def test_anything_in_a_section_is_a_suite_or_a_kind_error(section: str, value: Any) -> None:
    with contextlib.suppress(HarnessError):
        suite_from_dict({**MINE, section: value})


@pytest.mark.parametrize(("jointly", "against"), [(True, [["a", "b"]]), (False, [["a"], ["b"]])])
def test_a_comparison_is_one_claim_jointly_else_one_a_rival(jointly: bool, against: list[list[str]]) -> None:
    rivals = {name: {"optimizer": {"name": "sgd", "lr": rate}} for name, rate in (("a", 0.1), ("b", 0.2))}
    compared = {"arm": "adamp", "against": ["a", "b"], "metric": "top1-accuracy", "jointly": jointly}
    suite = suite_from_dict(MINE | {"arms": MINE["arms"] | rivals, "compare": [compared]})
    assert [list(binding.against) for binding in suite.model.claims] == against


def test_what_a_benchmark_declares_beside_its_block_is_of_the_block() -> None:
    whole = MINE["benchmarks"]["digits"]
    apart = {key: value for key, value in whole.items() if key != "recipe"} | {"mini": {"recipe": whole["recipe"]}}
    assert identities(suite_from_dict(changed(("benchmarks", "digits"), apart))) == identities(suite_from_dict(MINE))


@pytest.mark.parametrize("number", [1, 2])
def test_domains_take_two_benchmarks_or_more(number: int) -> None:
    claim = {"id": "c", "arm": "a", "benchmarks": ["one", "two"][:number], "scope": "mean", "domains": "benchmarks"}
    with pytest.raises(ValueError, match="at least two") if number < 2 else contextlib.nullcontext():
        Claim.model_validate(claim)
