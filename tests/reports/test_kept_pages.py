"""Pages that nothing changed are kept, and no page is ever stale: a kept folder equals a fresh one after any change."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from conftest import Written

from harness.store import TABLES, StorePaths
from reports.data import inputs
from reports.kept import MANIFEST
from reports.pages.render import Page, Site
from reports.site import write_site

pytestmark = pytest.mark.full

ONE = "(SELECT min(trial_id) FROM trials WHERE scale = 'mini')"
CHANGES = {
    "a final number": f"UPDATE results_with_deleted SET value = value + 1 WHERE trial_id = {ONE}",
    "the split of a number": "UPDATE results_with_deleted SET metric = 'other' WHERE metric = 'distance'",
    "a step of a series": "UPDATE metrics_with_deleted SET value = value * 2 WHERE step = 7 AND name = 'loss'",
    "a time of a series": "UPDATE metrics_with_deleted SET elapsed_seconds = 9 WHERE step = 60 AND name = 'score'",
    "a trial's error": f"UPDATE trials_with_deleted SET error = 'odd' WHERE trial_id = {ONE}",
    "a trial's status": "UPDATE trials_with_deleted SET status = 'failed' WHERE seed = 3",
    "a trial's memory": "UPDATE trials_with_deleted SET peak_memory_mb = 411 WHERE seed = 1",
    "a verdict's word": "UPDATE verdicts SET verdict = 'contradicted' WHERE claim_id = 'demo-gain'",
    "a difference": "UPDATE verdicts SET difference = 0.125 WHERE claim_id = 'demo-tie'",
    "a gate": "UPDATE gates_with_deleted SET value = 0.01, passed = false",
    "a claim's sentence": "UPDATE claims SET statement = 'Otherwise.' WHERE claim_id = 'demo-gain'",
    "a printed number": "UPDATE claims SET published_difference = 9 WHERE claim_id = 'demo-gain'",
    "a claim that is gone": "DELETE FROM claims WHERE claim_id = 'demo-tie'",
    "a run's command": "UPDATE runs SET command = 'harness run otherwise.yaml'",
    "an environment": """UPDATE environments SET info = '{"python": "3.12", "cpu": "another"}'""",
    "the determinism check": """UPDATE events_with_deleted SET detail = json_merge_patch(detail, '{"equal": false}')
        WHERE kind = 'determinism'""",
    "a bought seed": """UPDATE events_with_deleted SET detail = json_merge_patch(detail, '{"reason": "another"}')
        WHERE kind = 'seed-bought'""",
    "joules": """UPDATE events_with_deleted SET detail = json_merge_patch(detail, '{"joules": {"cpu": 77}}')
        WHERE kind = 'energy'""",
    "a point of a sweep": "UPDATE sweep_points_with_deleted SET value = 3.25 WHERE number = 1",
    "what a sweep chose": """UPDATE sweeps SET spec = json_merge_patch(spec, '{"told": {"ours": 3}}')""",
    "the side of a trial": "UPDATE verdict_trials SET side = 'baseline'",
}


@pytest.fixture
def stored(written: Written, tmp_path: Path) -> Path:
    """A store of its own, whose rows may be changed behind the harness's back."""
    paths = StorePaths.of(written.database)
    for source in (paths.database, paths.snapshot):
        shutil.copyfile(source, tmp_path / source.name)
    shutil.copytree(paths.journal, tmp_path / paths.journal.name)
    return tmp_path / paths.database.name


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of pages as they are drawn."""
    told: list[str] = []
    draw = Site.document

    def document(site: Site, page: Page) -> str:
        told.append(page.path)
        return draw(site, page)

    monkeypatch.setattr(Site, "document", document)
    return told


def change(database: Path, statement: str) -> None:
    """Change rows of the database and of its snapshot."""
    for file in (database, StorePaths.of(database).snapshot):
        with duckdb.connect(str(file)) as connection:
            ((rows,),) = connection.execute(statement).fetchall()
            assert rows > 0
            connection.execute("CHECKPOINT")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a site but its manifest."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return {name: (folder / name).read_bytes() for name in names if name != MANIFEST}


def times(folder: Path) -> dict[str, int]:
    """When each page was written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*.*")
        if path.is_file() and path.name != MANIFEST
    }


def test_what_nothing_changed_is_neither_drawn_nor_written(written: Written, tmp_path: Path, drawn: list[str]) -> None:
    out = tmp_path / "site"
    write_site(written.database, written.reported, out)
    before, manifest = times(out), (out / MANIFEST).read_bytes()
    assert len(drawn) > 60
    drawn.clear()
    write_site(written.database, written.reported, out)
    assert drawn == []
    assert times(out) == before
    assert (out / MANIFEST).read_bytes() == manifest


def test_one_trial_makes_its_own_page_and_those_above_it_again(
    written: Written, stored: Path, tmp_path: Path, drawn: list[str]
) -> None:
    out = tmp_path / "site"
    write_site(stored, written.reported[:1], out)
    pages = set(drawn)
    drawn.clear()
    change(stored, CHANGES["a final number"])
    write_site(stored, written.reported[:1], out)
    own = {path for path in drawn if path.startswith("trials/")}
    assert len(own) == 1
    assert set(drawn) - own == {"index.html", "methods.html", "suites/demo/mini/index.html", *_benches(drawn)}
    assert len(_benches(drawn)) == 1
    assert len(_benches(pages)) == 2


def _benches(paths: set[str] | list[str]) -> set[str]:
    return {path for path in paths if "/on-" in path}


@pytest.mark.parametrize("what", CHANGES)
def test_no_page_is_stale_after_a_change(written: Written, stored: Path, tmp_path: Path, what: str) -> None:
    reported, out = written.reported[:1], tmp_path / "site"
    first = contents(write_site(stored, reported, out).parent)
    change(stored, CHANGES[what])
    kept = contents(write_site(stored, reported, out).parent)
    fresh = contents(write_site(stored, reported, tmp_path / "fresh").parent)
    assert kept.keys() == fresh.keys()
    assert [name for name in kept if kept[name] != fresh[name]] == []
    assert kept != first, "the change shows on no page: it proves nothing"


def removed(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))


@pytest.mark.parametrize("damage", [removed, cut, changed])
@pytest.mark.parametrize(
    "pattern",
    [
        "index.html",
        "suites/demo/mini/index.html",
        "suites/**/on-digits-known.html",
        "trials/*.html",
        "csv/**/*.csv",
        "assets/site.js",
    ],
)
def test_a_damaged_page_is_made_again(
    written: Written, tmp_path: Path, pattern: str, damage: Callable[[Path], None]
) -> None:
    out = tmp_path / "site"
    shutil.copytree(written.folder, out)
    whole = contents(out)
    damage(next(out.glob(pattern)))
    write_site(written.database, written.reported, out)
    assert contents(out) == whole


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '["index.html"]', '{"files": 3}', '{"files": {}, "pages": {"a": 1}}', "null"]
)
def test_a_damaged_manifest_makes_every_page_again(
    written: Written, tmp_path: Path, drawn: list[str], text: str
) -> None:
    out = tmp_path / "site"
    shutil.copytree(written.folder, out)
    (out / "index.html").write_text("something else")
    (out / MANIFEST).write_text(text)
    write_site(written.database, written.reported, out)
    assert contents(out) == contents(written.folder)
    assert json.loads((out / MANIFEST).read_text()) == json.loads((written.folder / MANIFEST).read_text())
    assert len(drawn) == len(written.pages())


def test_other_code_of_the_reports_makes_every_page_again(
    written: Written, tmp_path: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    shutil.copytree(written.folder, out)
    monkeypatch.setattr(inputs, "code", lambda: "of tomorrow")
    write_site(written.database, written.reported, out)
    assert len(drawn) == len(written.pages())


def test_what_pages_ask_of_the_store_is_in_their_digests(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.store import Reader

    asked: set[str] = set()
    query = Reader.query

    def told(reader: Reader, sql: str, params: object = ()) -> object:
        asked.update(set(re.findall(r"\b(?:FROM|JOIN)\s+([a-z_]+)", sql)) & TABLES.keys())
        return query(reader, sql, params)  # type: ignore[arg-type]

    monkeypatch.setattr(Reader, "query", told)
    write_site(written.database, written.reported, tmp_path / "site")
    assert asked >= {"metrics", "results", "sweep_points"}
    assert asked <= {*inputs.OF_TRIALS, *inputs.OF_SUITES}
