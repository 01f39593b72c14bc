"""The page about Python, the page about the store and the notebook: every example is run as it stands.

No Jupyter is needed: the notebook's cells run one after another in this process, the last expression of each is its
output, and what was committed as such must still come out.
"""

import ast
import contextlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tree_support import ROOT, blocks

from harness.cli.group import run_main

BOOK = ROOT / "docs" / "notebook.ipynb"
NUMBER = re.compile(r"-?\d+\.\d+")
"""Of a training; another version of a library may give others."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cells() -> Iterator[dict[str, Any]]:
    for cell in json.loads(BOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            yield cell


def run_cell(source: str, names: dict[str, Any]) -> tuple[str, str]:
    """The output of a notebook cell and its last expression as text; '' without one."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    output, value = io.StringIO(), None
    with contextlib.redirect_stdout(output):
        exec(compile(tree, "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    return output.getvalue(), "" if value is None else repr(value)


def committed(cell: dict[str, Any]) -> tuple[str, str]:
    """The outputs in the file."""
    printed = "".join("".join(item["text"]) for item in cell["outputs"] if item["output_type"] == "stream")
    shown = ("".join(item["data"]["text/plain"]) for item in cell["outputs"] if item["output_type"] == "execute_result")
    return printed, "".join(shown)


def test_the_notebook_gives_what_stands_in_it(place: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells()):
        result = run_cell("".join(cell["source"]), names)
        for now, then in zip(result, committed(cell), strict=True):
            assert re.sub(r"\s+", " ", NUMBER.sub("#", now)) == re.sub(r"\s+", " ", NUMBER.sub("#", then)), number


def test_the_examples_of_the_page_run(place: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    parts = blocks("docs/python-api.md", "python")
    assert len(parts) == 4
    for text in parts:
        run_cell(text, names)
    assert names["ran"].record["reused"] == 0
    assert names["stored"]["trials"].tolist() == [6]


def test_the_commands_about_the_store_run(place: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = [block for block in blocks("docs/reliability.md", "sh") if "db tag" in block]
    tiny.write_text(re.sub(r"\bbase\b", "adam", tiny.read_text()), encoding="utf-8")
    assert run_main(["run", str(tiny), "--executor", "inline", "--no-report", "--no-tuned", "--json"]) == 0
    lines = text.strip().splitlines()
    assert len(lines) == 7
    for line in lines:
        capsys.readouterr()
        assert run_main(shlex.split(line, comments=True)[1:]) == 0, line
        assert capsys.readouterr().out, line
