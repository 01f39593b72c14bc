"""Stores that earlier versions wrote: opened, migrated with a backup, rebuilt from their event logs alone.

``tests/stores/<version>`` holds a database (gzipped) and its event log as that version left them, and the results that
its readers gave. A version that is released adds its own (``tests/stores/make.py``); none is ever changed.
"""

import gzip
import json
import re
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from store_support import outcome, planned

from harness.store import EventLog, StoreError, StorePaths, Writer, open_reader, segments
from harness.store.events import VERSION
from harness.store.log_lines import encode, sealed
from harness.store.rebuild import check, rebuild
from harness.store.rows import STORED
from harness.store.schema import connect, schema_number, schema_of
from harness.vocabulary import present_text

ROOT = Path(__file__).parents[3]
STORES = sorted(path.parent for path in (Path(__file__).parents[2] / "stores").glob("*/expected.json"))

Stored = tuple[StorePaths, dict[str, list[list[object]]]]
SQL = "SELECT trial_id, split, metric, value FROM results ORDER BY ALL"
WORDS = "SELECT claim_id, verdict, n FROM verdicts ORDER BY ALL"


@pytest.fixture(params=STORES, ids=lambda path: path.name)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    folder: Path = request.param
    paths = StorePaths.of(tmp_path / "h.duckdb")
    paths.database.write_bytes(gzip.decompress((folder / "h.duckdb.gz").read_bytes()))
    shutil.copytree(folder / "journal", paths.journal)
    expected = json.loads((folder / "expected.json").read_text())
    # the one text that changed, with schema 8
    verdicts = [[claim, present_text(verdict), n] for claim, verdict, n in expected["verdicts"]]
    return paths, expected | {"verdicts": sorted(verdicts)}


def seen(paths: StorePaths) -> dict[str, list[list[object]]]:
    with open_reader(paths.database) as reader:
        return {
            name: [list(row) for row in reader.query(sql).rows] for name, sql in (("results", SQL), ("verdicts", WORDS))
        }


def rows(database: Path) -> dict[str, list[str]]:
    """Every table of a file as sorted texts of its rows."""
    with closing(connect(database, read_only=True)) as connection:
        tables = columns(database).keys() - {"schema_version", "ingested"}
        return {name: sorted(map(str, connection.execute(f"FROM {name}").fetchall())) for name in tables}


def columns(database: Path, schema: str = "main") -> dict[str, list[str]]:
    sql = """
        SELECT table_name, list(column_name) FROM duckdb_columns() SEMI JOIN duckdb_tables()
        USING (schema_name, table_name) WHERE schema_name = ? GROUP BY 1
    """
    with closing(connect(database, read_only=True)) as connection:
        return dict(connection.execute(sql, [schema]).fetchall())


def schema_in(database: Path) -> int | None:
    with closing(connect(database, read_only=True)) as connection:
        return schema_of(connection)


def test_there_is_a_store_of_every_version_so_far() -> None:
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions
    assert set(versions) <= {path.name for path in STORES}, "tests/stores/make.py VERSION writes one"


def test_it_is_read_as_it_is_and_migrated_with_a_backup(stored: Stored) -> None:
    paths, expected = stored
    before = paths.database.read_bytes()
    old = schema_in(paths.database)
    assert seen(paths) == expected
    assert paths.database.read_bytes() == before
    with Writer(paths.database) as owner:
        owner.flush()
    assert schema_in(paths.database) == schema_number()
    assert seen(paths) == expected
    assert check(paths.database) == []
    (backup,) = paths.database.parent.glob(f"h.duckdb.backup-schema{old}-*")
    assert backup.read_bytes() == before


def test_every_row_of_every_table_survives_the_migration(stored: Stored) -> None:
    paths, _ = stored
    old = paths.database.with_name("old.duckdb")
    shutil.copyfile(paths.database, old)
    with Writer(paths.database) as owner:
        owner.flush()
    had, has = connect(old, read_only=True), connect(paths.database, read_only=True)
    for table, names in columns(old).items():
        if table in ("schema_version", "ingested", "forgettings"):
            continue
        quoted = ", ".join(f'"{name}"' for name in names)
        sql = f"SELECT {quoted} FROM {table} ORDER BY ALL"
        before, after = had.execute(sql).fetchall(), has.execute(sql).fetchall()
        if table == "verdicts":
            column = names.index("verdict")
            before = [(*row[:column], present_text(row[column]), *row[column + 1 :]) for row in before]
        kept = [row for row in after if row in before] if table == "run_trials" else after
        assert before == kept, table
    for table, names in columns(old, "forgotten").items():
        shown = ", ".join(f'"{name}"' for name in names if name != "forget_id")
        before = had.execute(f"SELECT {shown} FROM forgotten.{table} ORDER BY ALL").fetchall()
        stored, marked = (table, "true") if table == "run_trials" else (STORED[table], "deleted_at IS NOT NULL")
        after = has.execute(f"SELECT {shown} FROM {stored} WHERE {marked} ORDER BY ALL").fetchall()
        assert before == [row for row in after if table != "run_trials" or row in before], table
    had.close()
    has.close()


def test_its_event_log_alone_makes_what_a_migration_makes(stored: Stored) -> None:
    paths, expected = stored
    with Writer(paths.database) as owner:
        owner.flush()
    migrated = rows(paths.database)
    paths.remove()
    rebuild(paths.database)
    assert seen(paths) == expected
    assert check(paths.database) == []
    rebuilt = rows(paths.database)
    for table in ("results_with_deleted", "metrics_with_deleted"):
        assert rebuilt[table] == migrated[table]
    assert {table: len(texts) for table, texts in rebuilt.items()} == {
        table: len(texts) for table, texts in migrated.items()
    }


def test_a_journal_that_its_command_did_not_close_is_taken_in(stored: Stored) -> None:
    paths, expected = stored
    paths.remove()
    for archived in list(paths.journal.glob("*.jsonl.gz")):  # as it lies after a kill
        archived.with_suffix("").write_bytes(gzip.decompress(archived.read_bytes()) + b'{"v":1,"kind":"outc')
        archived.unlink()
    with Writer(paths.database) as owner:
        owner.flush()
    assert seen(paths) == expected
    assert check(paths.database) == []
    assert all(segment.is_archived for segment in segments(paths.journal))


def test_new_trials_are_added_to_it(stored: Stored) -> None:
    paths, expected = stored
    with Writer(paths.database, "new") as owner:
        owner.record(planned("new", "t"))
        owner.record(outcome("t"))
    for _ in range(2):
        added = seen(paths)
        assert [row for row in added["results"] if row[0] != "t"] == expected["results"]
        assert [row for row in added["results"] if row[0] == "t"]
        assert check(paths.database) == []
        rebuild(paths.database)


def test_a_database_of_a_newer_version_is_refused_and_stays(paths: StorePaths) -> None:
    with Writer(paths.database) as owner:
        owner.record(outcome("t"))
    connection = connect(paths.database)
    newer = schema_number() + 1
    connection.execute(f"INSERT INTO schema_version VALUES ({newer}, 'later', now()::TIMESTAMP)")
    connection.close()
    paths.snapshot.unlink()
    before = paths.database.read_bytes()
    message = rf"schema {newer} .* up to {newer - 1}.*Upgrade harness"
    with pytest.raises(StoreError, match=message), Writer(paths.database):
        pass
    for consistent in (False, True):
        with open_reader(paths.database, consistent=consistent) as reader, pytest.raises(StoreError, match=message):
            reader.query(SQL)
    with pytest.raises(StoreError, match="Upgrade harness"):
        rebuild(paths.database)
    assert [problem.kind for problem in check(paths.database)] == ["schema"]
    assert paths.database.read_bytes() == before
    assert not list(paths.database.parent.glob("*.backup*"))


def test_a_journal_of_a_newer_version_is_refused_and_stays(paths: StorePaths) -> None:
    with Writer(paths.database) as owner:
        owner.record(outcome("t"))
    later = EventLog(paths.journal, "later")
    later.close()
    line = encode({"v": VERSION + 1, "kind": "outcome", "at": "2027-01-01T00:00:00Z", "score": 1})
    later.path.write_bytes(sealed(line, 0))
    message = rf"version {VERSION + 1} .*Upgrade harness"
    with pytest.raises(StoreError, match=message), Writer(paths.database):
        pass
    with open_reader(paths.database) as reader, pytest.raises(StoreError, match=message):
        reader.query(SQL)
    with pytest.raises(StoreError, match=message):
        rebuild(paths.database, force=True)
    assert any("Upgrade harness" in problem.message for problem in check(paths.database))
    later.path.unlink()  # as if it had been of another folder: none of it is in, nothing is lost
    for segment in segments(paths.journal):
        assert segment.name != later.segment
    with open_reader(paths.database) as reader:
        assert reader.finished(["t"]) == {"t": "done"}
        assert reader.query("SELECT count(*) FROM events WHERE kind = 'rejected'").rows == [(0,)]
