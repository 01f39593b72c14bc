"""``harness verify``: a refactored core adopts what is stored, one in which a number changed refuses."""

import json
import os
import shutil
from pathlib import Path

import pytest
import warm_process

ROOT = Path(__file__).parents[2]
SUITE = """
suite: own
title: Two optimizers
seeds: {min: 2, max: 4}
arms:
  adam: {role: baseline, optimizer: adam}
  adamw: {role: method, optimizer: adamw}
benchmarks:
  digits:
    define:
      benchmark: digits
      title: Digits
      task: classification
      metrics: {top1-accuracy: {unit: percent, better: higher}}
      mini:
        data: {name: digits, train: 200}
        model: {name: bn-cnn, widths: [8, 16], strides: [1, 2]}
        recipe: {steps: 6, batch_size: 32, schedule: cosine, optimizer: {adam: {lr: 0.01}}}
"""


class Tree:
    """A copy of the sources with a suite and a database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in ("harness", "methods", "suites", "reports"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        self.suite = folder / "own.yaml"
        self.suite.write_text(SUITE, encoding="utf-8")

    def call(self, *arguments: str, code: int = 0) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "HARNESS_DB": str(self.folder / "own.duckdb")}
        done = warm_process.call(("harness", *arguments), self.folder, environment)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} no longer has the text that this test edits"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def run(self) -> dict[str, int]:
        done = self.call("run", "own.yaml", "--executor", "inline", "--no-report", "--json")
        run = json.loads(done.splitlines()[-1])["runs"][0]
        return {"trials": run["trials"], "reused": run["reused"]}

    def verify(self, *arguments: str, code: int = 0) -> str:
        return self.call("verify", "own.yaml", "--executor", "inline", "--quiet", *arguments, code=code)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    tree = Tree(tmp_path_factory.mktemp("tree"))
    tree.verify(code=1)  # nothing is stored
    assert tree.run() == {"trials": 4, "reused": 0}
    return tree


def test_what_is_stored_agrees_with_itself(measured: Tree) -> None:
    message = measured.verify("--sample", "3")
    assert message.count("equal ") == 3
    assert "4 of this code, 0 of older code" in message
    repeated = "SELECT count(*), bool_and((detail->>'equal')::BOOLEAN) FROM events WHERE kind = 'determinism'"
    assert measured.call("query", repeated, "--format", "csv").split()[-1].lower() == "3,true"
    assert "0 trials of older code adopted" in measured.verify("--adopt")


def test_a_refactored_core_adopts_and_a_changed_number_refuses(measured: Tree) -> None:
    # another expression of the same number
    measured.edit("harness/trial/recipe.py", "0.5 * (1 + math.cos(", "(1 + math.cos(")
    measured.edit("harness/trial/recipe.py", "total))))\n", "total))) / 2)\n")
    assert "0 of this code, 4 of older code" in measured.verify()
    message = measured.verify("--adopt", "--sample", "4")
    assert message.count("equal ") == 4
    assert "4 trials of older code adopted" in message
    assert measured.run() == {"trials": 4, "reused": 4}
    text = measured.call("query", "SELECT count(*), count(DISTINCT adopted_from), min(sample) FROM adoptions")
    assert "4" in text
    # an adopted trial has its numbers, series and origin
    text = measured.call(
        "query",
        "SELECT count(*) FROM adoptions a JOIN metrics m USING (trial_id) "
        "JOIN metrics o ON o.trial_id = a.adopted_from AND o.name = m.name AND o.step = m.step "
        "AND o.split = m.split AND o.value = m.value",
        "--format",
        "csv",
    )
    assert int(text.split()[-1]) > 20
    # every page with its verdicts states it
    measured.call("report", "own.yaml")
    pages = [page.read_text(encoding="utf-8") for page in (measured.folder / "report").glob("*.html")]
    assert any("4 of 4 trials measured by older code" in page for page in pages)
    # a different number
    measured.edit("harness/trial/recipe.py", "total))) / 2)", "total))) / 2.0000001)")
    message = measured.verify("--adopt", code=1)
    assert "DIFFERS" in message
    assert "0 trials of older code adopted: not all agree" in message
    assert measured.run() == {"trials": 4, "reused": 0}
