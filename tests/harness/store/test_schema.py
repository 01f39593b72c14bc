"""Opening the database: created, migrated with a backup, or refused with a clear message."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from store_support import ROOT

from harness.store import StoreError, StorePaths, Writer, default_database, open_reader
from harness.store.schema import Migration, connect, migrations, open_for_writing, schema_of


@pytest.fixture
def paths(tmp_path: Path) -> StorePaths:
    return StorePaths.of(tmp_path / "folder" / "h.duckdb")


NOW = migrations()[-1].number
MORE = (*migrations(), Migration(NOW + 1, "notes", "CREATE TABLE notes (text VARCHAR); INSERT INTO notes VALUES ('x')"))


def test_importing_the_store_loads_nothing_heavy() -> None:
    code = (
        "import sys, harness.store, harness.cli.read, harness.cli.db\n"
        "heavy = {'torch', 'ray', 'pandas', 'pyarrow', 'duckdb', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_default_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DB", raising=False)
    assert default_database() == Path("results/harness.duckdb")
    monkeypatch.setenv("HARNESS_DB", "elsewhere/x.duckdb")
    assert default_database() == Path("elsewhere/x.duckdb")


def test_two_spellings_are_one_store(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    straight = tmp_path / "real" / ".." / "real" / "x.duckdb"
    assert StorePaths.of(tmp_path / "link" / "x.duckdb") == StorePaths.of(straight)


def test_created_whole_with_its_folder_by_migrations_without_gaps(paths: StorePaths) -> None:
    with open_for_writing(paths) as connection:
        assert schema_of(connection) == migrations()[-1].number
    assert sorted(path.name for path in paths.database.parent.iterdir()) == ["h.duckdb"]
    assert not list(paths.database.parent.glob("*.backup-*"))
    assert [step.number for step in migrations()] == list(range(1, len(migrations()) + 1))


def test_verdicts_of_one_protocol_are_published_ones_afterwards(paths: StorePaths) -> None:
    with open_for_writing(paths, migrations()[:2]) as connection:
        at = "TIMESTAMP '2026-01-01'"
        connection.execute(
            f"INSERT INTO verdicts (claim_id, scale, judged_at, n, verdict) VALUES ('k', 'mini', {at}, 3, 'x')"
        )
        connection.execute(f"INSERT INTO verdict_trials VALUES ('k', 'mini', {at}, 't', 'method')")
        connection.execute("INSERT INTO gates VALUES ('k', 'mini', 'mechanism.x', 'a', 1, 2, false)")
    with open_for_writing(paths) as connection:
        for table in ("verdicts", "verdict_trials", "gates"):
            assert connection.execute(f"SELECT claim_id, scale, protocol FROM {table}").fetchall() == [
                ("k", "mini", "published")
            ]
        assert connection.execute("SELECT n, verdict FROM verdicts").fetchall() == [(3, "x")]


def test_a_migration_that_fails_is_undone_whole(paths: StorePaths) -> None:
    with open_for_writing(paths):
        pass
    bad = Migration(NOW + 2, "bad", "CREATE TABLE half (i INTEGER); SELECT * FROM nothing")
    with pytest.raises(StoreError, match=rf"migration {NOW + 2} \(bad\) failed"), open_for_writing(paths, (*MORE, bad)):
        pass
    connection = connect(paths.database, read_only=True)
    assert schema_of(connection) == NOW + 1
    assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == [(0,)]
    connection.close()


def test_somebody_elses_database_is_refused(paths: StorePaths) -> None:
    paths.database.parent.mkdir()
    with duckdb.connect(str(paths.database)) as connection:
        connection.execute("CREATE TABLE customers (name VARCHAR)")
    with pytest.raises(StoreError, match="not one of harness"), Writer(paths.database):
        pass
    with open_reader(paths.database) as reader, pytest.raises(StoreError, match="not one of harness"):
        reader.query("FROM customers")


def test_an_empty_file_is_refused(paths: StorePaths) -> None:
    paths.database.parent.mkdir()
    paths.database.touch()
    with pytest.raises(StoreError, match=r"h\.duckdb"), Writer(paths.database):
        pass
    assert paths.database.read_bytes() == b""
    with pytest.raises(StoreError, match=r"h\.duckdb"), open_reader(paths.database) as reader:
        reader.query("SELECT 1")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="file"), Writer(tmp_path / "file" / "h.duckdb"):
        pass


def test_wal_of_a_removed_database_is_not_replayed_into_the_next(paths: StorePaths) -> None:
    paths.database.parent.mkdir()
    paths.wal.write_bytes(b"of another life")
    with open_for_writing(paths) as connection:
        assert schema_of(connection) == NOW
    assert [path.read_bytes() for path in paths.database.parent.glob("*.stray-*")] == [b"of another life"]
