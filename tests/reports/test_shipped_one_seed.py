"""The shipped suites' pages where no interval exists yet: a first look with `--seeds 1`, and smoke."""

import re
from pathlib import Path

import pytest
from html_support import Parsed
from shipped_support import SUITES, write_shipped

from harness.store import open_reader
from reports.data import sql


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the five suites after one seed."""
    return write_shipped(tmp_path_factory.mktemp("one-seed"), seeds=(0,))


@pytest.mark.full
def test_pages_of_the_five_suites_are_written_from_one_seed(folder: Path) -> None:
    for suite, scales in SUITES.items():
        for scale, _ in scales:
            text = Parsed(folder / "suites" / suite / scale / "index.html").text
            assert "direction confirmed" not in text
            assert not re.search(r"(?<![\w-])nan\b", text)


@pytest.mark.full
def test_one_thing_is_never_a_plural(folder: Path) -> None:
    for path in folder.rglob("*.html"):
        assert Parsed(path).false_plurals() == [], path


@pytest.mark.full
def test_trials_of_a_verdict_stand_in_one_order(folder: Path) -> None:
    order = ("claim_id", "benchmark", "seed", "side", "arm", "trial_id")
    with open_reader(folder.parent / "shipped.duckdb", consistent=True) as reader:
        for suite, scales in SUITES.items():
            for scale, _ in scales:
                keys = [tuple(row[key] for key in order) for row in sql.ask(reader, sql.sides_of(suite, scale)).rows]
                assert keys == sorted(keys), f"{suite} at {scale}"
                assert keys
