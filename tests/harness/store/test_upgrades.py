"""Stores that earlier versions wrote: opened, migrated with a backup, made again from their journals alone.

``tests/stores/<version>`` holds a database (gzipped) and its journal as that version left them, and the results that
its readers gave. A version that is released adds its own (``tests/stores/make.py``); none is ever changed.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from harness.store import Owner, StorePaths, open_reader
from harness.store.rebuild import check, rebuild

STORES = sorted(path.parent for path in (Path(__file__).parents[2] / "stores").glob("*/expected.json"))

SQL = "SELECT trial_id, split, metric, value FROM results ORDER BY ALL"
WORDS = "SELECT claim_id, verdict, n FROM verdicts ORDER BY ALL"


@pytest.fixture(params=STORES, ids=lambda path: path.name)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[StorePaths, dict[str, list[list[object]]]]:
    folder: Path = request.param
    paths = StorePaths.of(tmp_path / "h.duckdb")
    paths.database.write_bytes(gzip.decompress((folder / "h.duckdb.gz").read_bytes()))
    shutil.copytree(folder / "journal", paths.journal)
    return paths, json.loads((folder / "expected.json").read_text())


def seen(paths: StorePaths) -> dict[str, list[list[object]]]:
    with open_reader(paths.database) as reader:
        return {
            name: [list(row) for row in reader.query(sql).rows] for name, sql in (("results", SQL), ("verdicts", WORDS))
        }


def test_there_is_a_store_of_every_version_so_far() -> None:
    assert STORES


def test_it_is_read_as_it_is(stored: tuple[StorePaths, dict[str, list[list[object]]]]) -> None:
    paths, expected = stored
    assert seen(paths) == expected


def test_it_is_migrated_with_a_backup(stored: tuple[StorePaths, dict[str, list[list[object]]]]) -> None:
    paths, expected = stored
    before = paths.database.read_bytes()
    with Owner(paths.database) as owner:
        owner.flush()
    assert seen(paths) == expected
    assert check(paths.database) == []
    backups = [path for path in paths.database.parent.glob("h.duckdb.backup*") if path.read_bytes() == before]
    assert len(backups) == 1


def test_its_journal_alone_makes_it_again(stored: tuple[StorePaths, dict[str, list[list[object]]]]) -> None:
    paths, expected = stored
    paths.remove()
    rebuild(paths.database)
    assert seen(paths) == expected
