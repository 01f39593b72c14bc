"""The exercises of CONTRIBUTING: each in a copy of the tree, in the stated number of files, then all run once."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tree_support import Tree

from harness.store import open_reader

pytestmark = pytest.mark.timeout(600)

EXERCISES = {
    "Add a method": {"methods/optimizers/sign_sgd.py"},
    "Add a data source": {"suites/data/stripes.py"},
    "Add a benchmark": {"stripes.yaml"},
    "Add a suite": {"stripes-suite.yaml"},
    "Add a metric": {"suites/tasks/classification.py", "stripes.yaml"},
    "Add a task": {"suites/tasks/rotations.py", "rotations.yaml"},
    "Add a verdict": {"harness/vocabulary.py", "harness/judge/verdicts.py"},
    "Add a column to the first page": {"reports/pages/index.py"},
}
"""The files that differ afterwards."""
KEY = '    patience: int = option(0, "evaluations without progress that are borne", low=0)\n'


@dataclass(frozen=True)
class Grown:
    """The tree after all exercises.

    Attributes:
        touched: the files that differ after each exercise.
        runs: the record of the run, by suite.
    """

    tree: Tree
    touched: dict[str, set[str]]
    runs: dict[str, dict[str, Any]]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with open_reader(self.tree.folder / "grown.duckdb") as reader:
            return [tuple(row) for row in reader.query(sql).rows]

    def page(self, name: str) -> str:
        """A page of the site, with normalized white space."""
        return " ".join((self.tree.folder / "report" / name).read_text(encoding="utf-8").split())

    def verdict(self, suite: str, claim: str) -> dict[str, Any]:
        (result,) = [item for item in self.runs[suite]["verdicts"] if item["claim_id"] == claim]
        return dict(result)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Grown:
    tree = Tree(tmp_path_factory.mktemp("grown") / "tree", HARNESS_DB="grown.duckdb")
    touched = {title: tree.follow(title) for title in EXERCISES}
    before = tree.content()
    tree.edit("harness/trial/recipe.py", "    memory_layout: str", f"{KEY}    memory_layout: str")
    touched["a key of the recipe"] = {name for name, text in tree.content().items() if before.get(name) != text}
    tree.call("harness", "validate", "stripes-suite.yaml")  # as it stands in the page
    suite = with_every_claim((tree.folder / "stripes-suite.yaml").read_text(encoding="utf-8"))
    (tree.folder / "stripes-suite.yaml").write_text(suite, encoding="utf-8")
    equal = tiny_text.replace("effect: 3.0}", "effect: 0.0, patience: 2}")
    equal = equal.replace("steps: 20, own_sd: 0.3", "steps: 20, own_sd: 0.05, pair_sd: 10, patience: 1")
    equal = equal.replace("better: higher}", "better: higher, smallest: 1}")
    (tree.folder / "tiny.yaml").write_text(equal, encoding="utf-8")
    both = ("stripes-suite.yaml", "tiny.yaml")
    tree.call("harness", "validate", *both)
    shown = json.loads(tree.call("harness", "run", *both, "--executor", "inline", "--json"))
    return Grown(tree, touched, {run["suite"]: run for run in shown["runs"]})


def with_every_claim(text: str) -> str:
    """The suite of the examples with the new metric and task."""
    suite = yaml.safe_load(text)
    suite["benchmarks"]["rotations"] = {"file": "rotations.yaml"}
    (fact,), (claim,) = suite["facts"], suite["claims"]
    for benchmark, metric in (("stripes", "balanced-accuracy"), ("rotations", "turn-accuracy")):
        suite["facts"].append({**fact, "id": metric, "benchmark": benchmark, "metric": metric})
        suite["claims"].append({**claim, "id": metric, "benchmarks": [benchmark]})
    return json.dumps(suite)


def test_a_new_method_is_found_beside_a_cached_index(tmp_path: Path) -> None:
    """In a separate process, without a command between edit and use."""
    tree = Tree(tmp_path / "tree")
    environment = {**os.environ, "PYTHONPATH": str(tree.folder), "HARNESS_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "harness", "list", "methods", "sign-sgd"]

    def call() -> str:
        done = subprocess.run(command, cwd=tree.folder, env=environment, capture_output=True, text=True, check=False)
        return done.stdout

    assert "sign-sgd" not in call()
    tree.follow("Add a method")
    assert "sign-sgd" in call()


@pytest.mark.parametrize("title", EXERCISES)
def test_an_exercise_touches_what_it_promises(grown: Grown, title: str) -> None:
    assert grown.touched[title] == EXERCISES[title]


def test_the_run_ends_well(grown: Grown) -> None:
    expected = {"stripes-suite": {"done": 12}, "tiny": {"done": 6}}
    assert {name: run["counts"] for name, run in grown.runs.items()} == expected


def test_a_method_a_data_source_a_benchmark_and_a_suite(grown: Grown) -> None:
    assert "sign-sgd" in grown.tree.call("harness", "list", "methods", "sign*")
    assert grown.verdict("stripes-suite", "sign-is-enough")["n"] == 3


def test_a_metric(grown: Grown) -> None:
    verdict = grown.verdict("stripes-suite", "balanced-accuracy")
    stored = grown.query(
        "SELECT arm, value FROM results JOIN trials USING (trial_id) "
        "WHERE metric = 'balanced-accuracy' AND split = 'test' AND benchmark = 'stripes'"
    )
    assert len(stored) == 6
    assert all(0 <= value <= 100 for _, value in stored)
    means = {arm: sum(value for name, value in stored if name == arm) / 3 for arm in ("sign-sgd", "sgd")}
    assert verdict["difference"] == pytest.approx(means["sign-sgd"] - means["sgd"])
    assert "balanced-accuracy" in grown.page("suites/stripes-suite/mini/on-stripes.html")


def test_a_task(grown: Grown) -> None:
    assert "rotations" in grown.tree.call("harness", "list", "tasks")
    assert grown.verdict("stripes-suite", "turn-accuracy")["n"] == 3
    scores = grown.query("SELECT value FROM results WHERE metric = 'turn-accuracy' AND split = 'test'")
    assert len(scores) == 6
    assert max(value for (value,) in scores) > 50, "chance is 25"


def test_a_verdict(grown: Grown) -> None:
    verdict = grown.verdict("tiny", "tiny-better")
    assert verdict["verdict"] == "practically equal"
    smallest = verdict["design"]["numbers"]["smallest"]
    assert -smallest < verdict["ci_low"] < 0 < verdict["ci_high"] < smallest
    shown = grown.tree.call("harness", "claims", "tiny.yaml", FORCE_COLOR="1", TERM="xterm")
    assert "\x1b[33mpractically equal" in shown
    page = grown.page("index.html")
    assert re.search(r'class="chip null">.{0,120}practically equal', page)
    assert 'title="the smallest size of interest is excluded on both sides"' in page


def test_a_column_of_the_first_page(grown: Grown) -> None:
    (table,) = re.findall(r'<table class="sortable" id="entries">.*?</table>', grown.page("index.html"))
    heads = re.findall(r'<th scope="col">(.*?)</th>', table)
    assert heads == ["Verdict", "Claim or ablation", "Comparison", "Pairs", "Difference", "Suite, scale"]
    rows = [re.findall(r"<td.*?</td>", row) for row in re.findall(r"<tr>\s*(<td.*?)</tr>", table)]
    assert len(rows) == 4
    for cells in rows:
        assert len(cells) == len(heads)
        assert re.sub("<.*?>", "", cells[heads.index("Pairs")]).strip() == "3"


def test_a_key_of_the_recipe_is_one_file(grown: Grown) -> None:
    """A new recipe key is valid in recipes, ``set:`` and ``--set``."""
    assert grown.touched["a key of the recipe"] == {"harness/trial/recipe.py"}
    tree = grown.tree
    schema = json.loads(tree.call("harness", "validate", "--schema"))
    (declared,) = {json.dumps(result) for result in found_under("patience", schema)}
    assert json.loads(declared)["minimum"] == 0
    stored = grown.query(
        "SELECT DISTINCT arm, CAST(spec->'recipe'->'patience' AS INTEGER) FROM trials WHERE suite = 'tiny' ORDER BY arm"
    )
    assert stored == [("base", 1), ("better", 2)]
    with pytest.raises(AssertionError, match="patience"):
        tree.call("harness", "run", "tiny.yaml", "--set", "patience=-1")


def found_under(key: str, data: Any) -> list[Any]:
    """Every value of a key anywhere in JSON data."""
    if isinstance(data, list):
        return [result for item in data for result in found_under(key, item)]
    if isinstance(data, dict):
        return [*([data[key]] if key in data else []), *found_under(key, list(data.values()))]
    return []
