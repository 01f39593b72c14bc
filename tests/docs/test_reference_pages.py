"""The pages of the docs that speak of code: the glossary, the commands, the architecture."""

import functools
import importlib
import inspect
import re
import sys
import threading
import tomllib
from enum import Enum
from pathlib import Path
from types import CodeType, FrameType

import pytest

from harness import vocabulary
from harness.cli import reference
from harness.cli.group import run_main

DOCS = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.default

ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| `([^`]+)` \|$", re.MULTILINE)


def architecture(heading: str) -> str:
    """The section of the architecture page under a heading."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows() -> list[tuple[str, str, str]]:
    return ROW.findall(architecture("Glossary"))


def test_every_word_has_one_meaning() -> None:
    words = [word for word, _, _ in rows()]
    assert len(words) > 30
    assert len(set(words)) == len(words)
    places = [place for _, _, place in rows()]
    assert len(set(places)) == len(places), "two words for one thing"


@pytest.mark.parametrize("place", [place for _, _, place in rows()])
def test_every_word_is_in_the_code(place: str) -> None:
    module, _, name = place.partition(":")
    loaded = importlib.import_module(module)
    assert not name or hasattr(loaded, name), place


def test_every_kind_of_word_of_the_vocabulary_is_explained() -> None:
    kinds = {name for name, item in vars(vocabulary).items() if isinstance(item, type) and issubclass(item, Enum)}
    explained = {place.partition(":")[2] for _, _, place in rows()}
    assert {name for name in kinds if name != "StrEnum"} <= explained


def test_the_commands_are_those_of_the_help() -> None:
    assert (DOCS / reference.PAGE.name).read_text(encoding="utf-8") == reference.render()


def test_the_architecture_draws_the_layers_that_the_import_rules_enforce() -> None:
    drawing = re.findall(r"```text\n(.*?)```", architecture("Layers"), re.DOTALL)[0]
    drawn = [re.split(r"  +", line)[0] for line in drawing.splitlines()]
    rules = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (stages,) = [contract for contract in rules["contracts"] if contract["id"] == "stages"]
    assert drawn == stages["layers"]


def test_a_claim_passes_the_functions_that_the_architecture_names(
    tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = re.findall(r"\| `([\w.]+:[\w.]+)` \|", architecture("The path of a claim"))
    assert len(path) > 10
    calls: list[str] = []
    wanted = {code_of(place): place for place in path}

    def record(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (place := wanted.get(frame.f_code)):
            calls.append(place)

    threading.setprofile(record)
    sys.setprofile(record)
    try:
        code = run_main(["run", str(tiny), "--executor", "inline", "--db", str(database), "--quiet"])
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert code == 0, capsys.readouterr().err
    rest = iter(calls)
    assert [place for place in path if place not in rest] == [], "not called in this order"


def code_of(place: str) -> CodeType:
    """The code of a function that the page names as ``module:name``."""
    module, _, name = place.partition(":")
    function = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    code = inspect.unwrap(function).__code__
    assert isinstance(code, CodeType)
    return code
