"""Suites with equal names in one store."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from judge_support import WHEN, World, around, binding, fact, flat, judge_stored, write_suite

from harness.judge import VerdictRow, claim_rows
from harness.store import Writer, open_reader
from harness.store.events import ClaimsEvent
from harness.suite import load_suite


def world(folder: Path, name: str, seeds: int, **changes: Any) -> World:
    """Stored scores of one suite."""
    folder.mkdir()
    gate = {"metric": "mechanism.share", "arm": "ours", "op": ">=", "value": changes.pop("threshold", 0.9)}
    suite = write_suite(folder, [fact("c", **changes)], [binding("c", primary=True, mechanism=gate)])
    text = suite.path.read_text().replace("known", name)
    suite.path.write_text(text if name == "known" else text.replace("level: 50", "level: 51"), encoding="utf-8")
    scores = {("a", "ours"): around(2.0, 0.5, seeds), ("a", "base"): flat(seeds)}
    return World(load_suite(suite.path), scores, mechanisms={("a", "ours"): {"mechanism.share": 0.95}})


def judged(stored: World, database: Path, hours: int) -> VerdictRow:
    (row,) = judge_stored(stored, database, WHEN + timedelta(hours=hours)).values()
    with Writer(database) as owner:
        owner.record(ClaimsEvent(stored.suite.name, claim_rows(stored.suite)))
    return row


def test_a_claim_of_the_same_id_in_another_suite_is_no_earlier_look(tmp_path: Path) -> None:
    other, own = world(tmp_path / "o", "other", 8), world(tmp_path / "k", "known", 5)
    alone, shared = tmp_path / "alone.duckdb", tmp_path / "shared.duckdb"
    own.store(alone)
    other.store(shared)
    own.store(shared)
    first = judged(other, shared, 0)
    expected, result = judged(own, alone, 1), judged(own, shared, 1)
    assert first.n == 8
    assert (result.n, result.sequential, len(result.detail.look_sizes)) == (5, False, 1)
    assert result.detail.changed == ()
    assert result.columns() == expected.columns()
    again = judged(other, shared, 2)
    assert (again.sequential, again.adjusted_p) == (first.sequential, first.adjusted_p)


def test_gates_and_newest_verdicts_are_of_their_suite(tmp_path: Path, database: Path) -> None:
    from reports.data import sql

    own, other = world(tmp_path / "k", "known", 5), world(tmp_path / "o", "other", 8, threshold=0.99)
    for item in (own, other):
        item.store(database)
    judged(own, database, 0)
    judged(other, database, 1)
    with open_reader(database) as reader:
        verdicts = {suite: reader.query(sql.verdicts_of(suite, "mini")).dicts() for suite in ("known", "other")}
        gates = {suite: reader.query("FROM gates WHERE suite = ?", [suite]).dicts() for suite in ("known", "other")}
        sides = {suite: reader.query(sql.sides_of(suite, "mini")).dicts() for suite in ("known", "other")}
        page = {
            suite: reader.query(sql.verdict("c", "mini", "published", suite)).dicts() for suite in ("known", "other")
        }
        newest = {row["suite"]: row["n"] for row in reader.verdicts(["c"], "mini").dicts()}
    assert {suite: [row["n"] for row in rows] for suite, rows in verdicts.items()} == {"known": [5], "other": [8]}
    assert {suite: [row["n"] for row in rows] for suite, rows in page.items()} == {"known": [5], "other": [8]}
    expected = {"known": [True], "other": [False]}
    assert {suite: [row["passed"] for row in rows] for suite, rows in gates.items()} == expected
    assert {suite: len(rows) for suite, rows in sides.items()} == {"known": 10, "other": 16}
    assert newest == {"known": 5, "other": 8}


@pytest.mark.parametrize("status", ["failed", "diverged", "done"])
def test_trials_of_another_suites_cells_of_the_same_names_are_not_looked_at(tmp_path: Path, status: str) -> None:
    """Other content under the same suite, benchmark, arm and seed: what another recipe of ``--set`` stores."""
    own, folder = world(tmp_path / "k", "known", 5), tmp_path / "o"
    other = world(folder, "known", 5)
    other.suite.path.write_text(other.suite.path.read_text().replace("level: 50", "level: 51"), encoding="utf-8")
    value = -100.0 if status == "done" else status
    bad = World(load_suite(other.suite.path), {("a", "ours"): [value] * 5, ("a", "base"): flat(5)})
    alone, shared = tmp_path / "alone.duckdb", tmp_path / "shared.duckdb"
    own.store(alone)
    bad.store(shared)
    own.store(shared)
    assert judged(own, shared, 0).columns() == judged(own, alone, 0).columns()
