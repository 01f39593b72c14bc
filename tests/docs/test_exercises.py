"""What a newcomer adds, as CONTRIBUTING shows it: each in a copy of the tree, in as few files as it promises."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tree_support import Tree

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("exercises")]  # the examples are followed once


@pytest.fixture(scope="module")
def with_stripes(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A tree with the method, the data source, the benchmark and the suite of the examples."""
    tree = Tree(tmp_path_factory.mktemp("stripes"))
    assert tree.follow("Add a method") == {"methods/optimizers/sign_sgd.py"}
    assert tree.follow("Add a data source") == {"suites/data/stripes.py"}
    assert tree.follow("Add a benchmark", "Add a suite") == {"stripes.yaml", "stripes-suite.yaml"}
    tree.call("harness.registry")
    return tree


@pytest.fixture
def stripes(with_stripes: Tree, tmp_path: Path) -> Tree:
    """A copy of it that a test may change."""
    return Tree(tmp_path / "tree", with_stripes.folder)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The tree as it is."""
    return Tree(tmp_path / "tree")


def run(tree: Tree, suite: str, *more: str) -> dict[str, Any]:
    """What a run of a suite says of itself."""
    tree.call("harness", "validate", suite)
    told = tree.call("harness", "run", suite, "--executor", "inline", "--no-report", "--json", *more)
    (done,) = json.loads(told)["runs"]
    assert set(done["counts"]) == {"done"}
    return done


def query(tree: Tree, sql: str) -> list[dict[str, Any]]:
    return json.loads(tree.call("harness", "query", sql, "--format", "json"))


def page(tree: Tree, suite: str, name: str) -> str:
    """A page of the site, with white space made even."""
    out = tree.folder / "site"
    tree.call("harness", "report", suite, "--out", str(out))
    return " ".join((out / name).read_text(encoding="utf-8").split())


def test_a_method_a_data_source_a_benchmark_and_a_suite(stripes: Tree) -> None:
    assert "sign-sgd" in stripes.call("harness", "list", "methods", "sign*")
    told = run(stripes, "stripes-suite.yaml")
    assert told["counts"] == {"done": 6}
    assert [verdict["n"] for verdict in told["verdicts"]] == [3]


def test_a_metric_is_two_files(stripes: Tree) -> None:
    touched = stripes.follow("Add a metric")
    assert touched == {"suites/tasks/classification.py", "stripes.yaml"}
    stripes.call("harness.registry")
    stripes.edit("stripes-suite.yaml", "metric: top1-accuracy", "metric: balanced-accuracy")
    (verdict,) = run(stripes, "stripes-suite.yaml")["verdicts"]
    stored = query(stripes, "SELECT value FROM results WHERE metric = 'balanced-accuracy' AND split = 'test'")
    assert len(stored) == 6
    assert all(0 <= row["value"] <= 100 for row in stored)
    means = query(
        stripes,
        "SELECT avg(value) FILTER (arm = 'sign-sgd') - avg(value) FILTER (arm = 'sgd') AS difference "
        "FROM results JOIN trials USING (trial_id) WHERE metric = 'balanced-accuracy' AND split = 'test'",
    )
    assert verdict["difference"] == pytest.approx(means[0]["difference"])
    assert "balanced-accuracy" in page(stripes, "stripes-suite.yaml", "suites/stripes-suite/mini/on-stripes.html")


def test_a_task_is_two_files(stripes: Tree) -> None:
    touched = stripes.follow("Add a task")
    assert touched == {"suites/tasks/rotations.py", "rotations.yaml"}
    stripes.call("harness.registry")
    stripes.edit("stripes-suite.yaml", "stripes: {file: stripes.yaml}", "rotations: {file: rotations.yaml}")
    stripes.edit("stripes-suite.yaml", "benchmark: stripes, metric: top1", "benchmark: rotations, metric: turn")
    stripes.edit("stripes-suite.yaml", "benchmarks: [stripes]", "benchmarks: [rotations]")
    assert "rotations" in stripes.call("harness", "list", "tasks")
    told = run(stripes, "stripes-suite.yaml")
    assert [verdict["n"] for verdict in told["verdicts"]] == [3]
    scores = query(stripes, "SELECT value FROM results WHERE metric = 'turn-accuracy' AND split = 'test'")
    assert len(scores) == 6
    assert max(row["value"] for row in scores) > 50, "chance is 25"


def test_a_verdict_is_two_files(tree: Tree, tiny_text: str) -> None:
    assert tree.follow("Add a verdict") == {"harness/vocabulary.py", "harness/judge/verdicts.py"}
    equal = tiny_text.replace("effect: 3.0", "effect: 0.0").replace("own_sd: 0.3", "own_sd: 0.05, pair_sd: 10")
    (tree.folder / "tiny.yaml").write_text(equal, encoding="utf-8")
    (verdict,) = run(tree, "tiny.yaml")["verdicts"]
    assert verdict["verdict"] == "practically equal"
    smallest = verdict["design"]["smallest"]
    assert -smallest < verdict["ci_low"] < 0 < verdict["ci_high"] < smallest
    assert "practically equal" in tree.call("harness", "claims", "tiny.yaml")
    assert "\x1b[33mpractically equal" in tree.call("harness", "claims", "tiny.yaml", FORCE_COLOR="1", TERM="xterm")
    told = page(tree, "tiny.yaml", "index.html")
    assert re.search(r'class="chip null">.{0,120}practically equal', told)
    assert 'title="the smallest size of interest is excluded on both sides"' in told


def test_a_column_of_the_first_page_is_one_file(tree: Tree, tiny: Path) -> None:
    assert tree.follow("Add a column to the first page") == {"reports/pages/index.py"}
    run(tree, str(tiny))
    told = page(tree, str(tiny), "index.html")
    (table,) = re.findall(r'<table class="sortable" id="entries">.*?</table>', told)
    heads = re.findall(r'<th scope="col">(.*?)</th>', table)
    assert heads == ["Verdict", "What", "Comparison", "Pairs", "Difference", "Suite, scale"]
    (row,) = re.findall(r"<tr>\s*(<td.*?)</tr>", table)
    cells = re.findall(r"<td.*?</td>", row)
    assert len(cells) == len(heads)
    assert re.sub("<.*?>", "", cells[heads.index("Pairs")]).strip() == "3"


KEY = '    patience: int = option(0, "evaluations without progress that are borne", low=0)\n'


def test_a_key_of_the_recipe_is_one_file(tree: Tree, tiny_text: str) -> None:
    """It is valid in a benchmark's recipe, in an arm's ``set:`` and as ``--set``, and the loop has it."""
    before = tree.content()
    tree.edit("harness/trial/recipe.py", "    memory_layout: str", f"{KEY}    memory_layout: str")
    assert [name for name, text in tree.content().items() if before.get(name) != text] == ["harness/trial/recipe.py"]
    given = tiny_text.replace("recipe: {steps: 20,", "recipe: {steps: 20, patience: 1,")
    (tree.folder / "tiny.yaml").write_text(given.replace("effect: 3.0}", "effect: 3.0, patience: 2}"), encoding="utf-8")
    (tree.folder / "reached.py").write_text(
        "import sys\n"
        "import torch\n"
        "from pathlib import Path\n"
        "from harness import registry\n"
        "from harness.plan.planning import Selection, make_plan\n"
        "from harness.suite import load_suite\n"
        "from harness.trial.assembly import assemble\n"
        "from harness.trial.runtime import Runtime\n"
        "runtime = Runtime(Path(), torch.device('cpu'), registry.load, Path())\n"
        "for trial in make_plan(load_suite('tiny.yaml'), Selection(seeds=(0,))).trials:\n"
        "    print(trial.arm, assemble(trial.spec, runtime).recipe.patience)\n",
        encoding="utf-8",
    )
    assert tree.call("reached").split() == ["base", "1", "better", "2"]
    schema = json.loads(tree.call("harness", "validate", "--schema"))
    (declared,) = {json.dumps(found) for found in found_under("patience", schema)}
    assert json.loads(declared)["minimum"] == 0
    assert run(tree, "tiny.yaml", "--set", "patience=3", "--seeds", "1")["counts"] == {"done": 2}
    stored = query(tree, "SELECT DISTINCT CAST(spec->'recipe'->'patience' AS INTEGER) AS patience FROM trials")
    assert stored == [{"patience": 3}]
    with pytest.raises(AssertionError, match="patience"):
        tree.call("harness", "run", "tiny.yaml", "--set", "patience=-1")


def found_under(key: str, data: Any) -> list[Any]:
    """Every value of a key anywhere in JSON data."""
    if isinstance(data, list):
        return [found for item in data for found in found_under(key, item)]
    if isinstance(data, dict):
        return [*([data[key]] if key in data else []), *found_under(key, list(data.values()))]
    return []
