"""The pages of the docs that speak of code: the glossary, the commands, the architecture."""

from __future__ import annotations

import importlib
import re
from enum import Enum
from pathlib import Path

import pytest

from harness import vocabulary
from harness.cli import reference

DOCS = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.default

ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| `([^`]+)` \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    return ROW.findall((DOCS / "glossary.md").read_text(encoding="utf-8"))


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
    kinds = {name for name, one in vars(vocabulary).items() if isinstance(one, type) and issubclass(one, Enum)}
    explained = {place.partition(":")[2] for _, _, place in rows()}
    assert {name for name in kinds if name != "StrEnum"} <= explained


def test_the_commands_are_those_of_the_help() -> None:
    assert (DOCS / reference.PAGE.name).read_text(encoding="utf-8") == reference.render()


def test_the_architecture_names_functions_that_exist() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for folder in re.findall(r"`(harness/\w+|reports)`", text):
        assert (DOCS.parent / folder).is_dir(), folder
    places = {
        "load_suite": "harness.suite",
        "make_plan": "harness.plan.planning",
        "run_suite": "harness.app.run",
        "train": "harness.trial.loop",
        "open_reader": "harness.store",
        "judge": "harness.judge",
        "measured_costs": "harness.results.listing",
        "judge_suite": "harness.judge.stored",
        "write_report": "harness.results.reporting",
        "write_site": "reports.site",
    }
    for name, module in places.items():
        assert f"{name}" in text
        assert hasattr(importlib.import_module(module), name), f"{module}:{name}"
