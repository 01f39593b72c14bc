"""What a node lacks is said in one line each; a node that has everything says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.execute.executors.nodes import _differences, traits

DATA, STATE = Path("/somewhere/data"), Path("/somewhere/results/h.duckdb.sessions")


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "data" / "digits").mkdir(parents=True)
    token = tmp_path / "token"
    token.write_text("shared")
    return traits(str(tmp_path / "data"), str(token))


def test_an_equal_node_is_fit(own: dict[str, Any]) -> None:
    assert _differences("node", own, dict(own), DATA, STATE) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"the data": None}, "HARNESS_DATA /somewhere/data is not there"),
        ({"the data": ["other"]}, "has other folders than here"),
        ({"the results": None}, "the folder of results /somewhere/results is not shared"),
        ({"code": "0" * 64}, "are other code than here"),
        ({"torch": "1.0"}, "torch 1.0, here"),
        ({"python": "2.7"}, "python 2.7, here"),
    ],
)
def test_what_a_node_lacks_is_told(own: dict[str, Any], change: dict[str, Any], told: str) -> None:
    (line,) = _differences("node", own, {**own, **change}, DATA, STATE)
    assert line.startswith("node: ")
    assert told in line


def test_a_node_on_which_the_harness_does_not_start_says_why(own: dict[str, Any]) -> None:
    assert _differences("node", own, "no module named harness", DATA, STATE) == [
        "node: the harness does not start there: no module named harness"
    ]
