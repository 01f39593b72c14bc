"""Differences of a node are one line each; an equal node has none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.execute.executors.nodes import NodeTraits, _differences, traits

DATA, STATE = Path("/somewhere/data"), Path("/somewhere/results/h.duckdb.sessions")


@pytest.fixture
def own(tmp_path: Path) -> NodeTraits:
    (tmp_path / "data" / "digits").mkdir(parents=True)
    token = tmp_path / "token"
    token.write_text("shared")
    return traits(str(tmp_path / "data"), str(token))


def test_an_equal_node_is_fit_and_one_on_which_the_harness_does_not_start_says_why(own: NodeTraits) -> None:
    assert _differences("node", own, replace(own), DATA, STATE) == []
    (line,) = _differences("node", own, "no module named harness", DATA, STATE)
    assert line == "node: the harness does not start there: no module named harness"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"folders": None}, "HARNESS_DATA /somewhere/data is not there"),
        ({"folders": ("other",)}, "has other folders than here"),
        ({"token": None}, "the folder of results /somewhere/results is not shared"),
        ({"code": "0" * 64}, "differ from here"),
        ({"torch": "1.0"}, "torch 1.0, here"),
        ({"python": "2.7"}, "python 2.7, here"),
    ],
)
def test_a_difference_is_reported(own: NodeTraits, change: dict[str, Any], expected: str) -> None:
    other = {"versions": {**own.versions, **change}} if "torch" in change or "python" in change else change
    (line,) = _differences("node", own, replace(own, **other), DATA, STATE)
    assert line.startswith("node: ")
    assert expected in line
