"""The database is a view of the event log: rebuilt from it, and compared with it."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from store_support import foreign_holder, outcome, planned, python, run_event

from harness.store import (
    TABLES,
    StoreDamagedError,
    StoreError,
    StoreHeldError,
    StorePaths,
    Writer,
    check,
    open_reader,
    rebuild,
    segments,
)
from harness.store.events import ClaimsEvent, EnvironmentEvent, SweepEvent, VerdictsEvent
from harness.store.schema import connect, open_for_writing


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions with a bit of everything, the last one never closed."""
    paths = StorePaths.of(tmp_path_factory.mktemp("template") / "h.duckdb")
    for number in range(2):
        run_id = f"run-{number}"
        with Writer(paths.database, run_id) as owner:
            owner.record(run_event(run_id))
            owner.record(planned(run_id, "a", "b", f"c{number}"))
            owner.record(outcome("a"))
            owner.record(outcome("b", "failed", error="x"))
            owner.record(outcome(f"c{number}", "diverged"))
            owner.record(ClaimsEvent(suite="s", claims=[{"claim_id": f"k{number}"}]))
            verdicts = [{"claim_id": f"k{number}", "verdict": "inconclusive", "stand_in": ["model"]}]
            owner.record(VerdictsEvent(scale="mini", verdicts=verdicts))
            owner.record(EnvironmentEvent(environment_id="e", info={}))
            owner.record(SweepEvent(row={"sweep_id": "w", "status": f"{number}"}))
            owner.record(run_event(run_id, status="done", finished_at="2026-02-01"))
    left = Writer(paths.database, "left", ingest_seconds=60, tell=lambda message: None)
    left.open()
    left.record(outcome("late"))
    left._stop.set()
    left.journal.close()
    left.release()  # a connection that closes later would take its files from under a copy
    return paths.database.parent


@pytest.fixture
def paths(template: Path, tmp_path: Path) -> StorePaths:
    shutil.copytree(template, tmp_path / "store")
    return StorePaths.of(tmp_path / "store" / "h.duckdb")


def dump(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    with open_reader(database, consistent=True) as reader:
        return {table: sorted(map(repr, reader.query(f"FROM {table}").rows)) for table in TABLES}  # type: ignore[misc]


def backups(paths: StorePaths) -> list[Path]:
    backups = paths.database.parent.glob("*.backup-rebuild-*")
    return sorted(path for path in backups if path.suffix != ".wal")


def test_rebuilt_equals_what_was(paths: StorePaths) -> None:
    before = dump(paths.database)
    assert len(before["trials"]) == 5
    rebuilt = rebuild(paths.database)
    assert (rebuilt.finished, rebuilt.rows["trials"], rebuilt.problems) == (4, 5, [])
    assert dump(paths.database) == before
    assert rebuilt.backup is not None
    assert backups(paths) == [rebuilt.backup]
    assert check(paths.database) == []


def _leave_wal(paths: StorePaths) -> None:
    """A process dies between a commit and the checkpoint."""
    code = """
        import os, sys
        from pathlib import Path
        from harness.store import StorePaths
        from harness.store.ingest import ingest
        from harness.store.schema import open_for_writing
        with open_for_writing(StorePaths.of(sys.argv[1])) as connection:
            ingest(connection, Path(sys.argv[2]))
            os._exit(9)
    """
    python(code, str(paths.database), str(paths.journal)).wait()
    assert paths.wal.stat().st_size > 0


@pytest.mark.parametrize("damage", ["appended", "in the middle", "whole", "truncated"])
def test_garbage_in_the_wal_loses_nothing(paths: StorePaths, damage: str) -> None:
    before = dump(paths.database)
    _leave_wal(paths)
    wal = bytearray(paths.wal.read_bytes())
    garbage = os.urandom(400)
    if damage == "appended":
        wal += garbage
    elif damage == "in the middle":
        wal[len(wal) // 2 : len(wal) // 2 + 16] = garbage[:16]
    elif damage == "whole":
        wal = bytearray(garbage * 10)
    else:
        del wal[len(wal) // 2 :]
    paths.wal.write_bytes(wal)
    if damage == "in the middle":
        with pytest.raises(StoreDamagedError, match="harness db rebuild"), Writer(paths.database):
            pass
    with open_reader(paths.database, consistent=True) as reader:
        assert set(reader.finished(["a", "c0", "c1", "late"])) == {"a", "c0", "c1", "late"}
    rebuild(paths.database)
    assert dump(paths.database) == before
    assert check(paths.database) == []
    with Writer(paths.database) as owner:
        owner.record(outcome("next"))
    assert check(paths.database) == []


@pytest.mark.parametrize("damage", ["blocks", "head", "empty"])
def test_a_damaged_file_is_found_and_rebuilt(paths: StorePaths, damage: str) -> None:
    before = dump(paths.database)
    content = bytearray(paths.database.read_bytes())
    if damage == "blocks":
        for start in range(3 * 4096, len(content), 4096):
            content[start + 100 : start + 200] = os.urandom(100)
    elif damage == "head":
        content[:4096] = os.urandom(4096)
    else:
        content = bytearray()
    paths.database.write_bytes(content)
    assert {problem.kind for problem in check(paths.database)} == {"file"}
    rebuilt = rebuild(paths.database)
    assert dump(paths.database) == before
    assert rebuilt.backup is not None
    assert rebuilt.backup.read_bytes() == content
    assert check(paths.database) == []


def test_a_living_owner_goes_on_with_the_new_file(paths: StorePaths) -> None:
    with Writer(paths.database, "alive", ingest_seconds=0.02) as owner:
        owner.record(outcome("one"))
        rebuild(paths.database)
        owner.record(outcome("two"))
    assert check(paths.database) == []
    with open_reader(paths.database) as reader:
        assert set(reader.finished(["one", "two", "late"])) == {"one", "two", "late"}


def test_a_held_file_is_not_rebuilt(paths: StorePaths) -> None:
    with foreign_holder(paths.database) as holder:
        with pytest.raises(StoreHeldError, match=str(holder.process.pid)):
            rebuild(paths.database)
        with pytest.raises(StoreHeldError):
            check(paths.database)
    assert not backups(paths)
    assert not list(paths.database.parent.glob("*.rebuild-*"))


def test_nothing_is_thrown_away_without_force(paths: StorePaths) -> None:
    archived = [segment for segment in segments(paths.journal) if segment.is_archived]
    archived[0].archived.unlink()
    problems = check(paths.database)
    assert any(problem.kind == "journal" and archived[0].name in problem.message for problem in problems)
    assert any(problem.kind == "counts" for problem in problems)
    before = paths.database.read_bytes()
    with pytest.raises(StoreError, match=r"1 finished trials.*--force"):
        rebuild(paths.database)
    assert paths.database.read_bytes() == before
    rebuilt = rebuild(paths.database, force=True)
    assert rebuilt.finished == 3
    assert rebuilt.backup is not None
    old = connect(rebuilt.backup, read_only=True)
    assert old.execute("SELECT count(*) FROM trials WHERE trial_id = 'c0'").fetchall() == [(1,)]
    old.close()


def test_without_a_journal_there_is_nothing_to_make_it_from(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no event log"):
        rebuild(tmp_path / "h.duckdb")
    with pytest.raises(StoreError, match="no database"):
        check(tmp_path / "h.duckdb")


@pytest.mark.parametrize(
    ("sql", "kind", "word"),
    [
        ("DELETE FROM trials_with_deleted WHERE trial_id = 'a'", "counts", "trials"),
        ("DELETE FROM results_with_deleted WHERE trial_id = 'a'", "counts", "results"),
        ("UPDATE results_with_deleted SET value = 1 WHERE trial_id = 'a'", "counts", "results"),
        ("UPDATE trials_with_deleted SET status = 'done' WHERE trial_id = 'b'", "counts", "trials"),
        ("INSERT INTO metrics_with_deleted FROM metrics_with_deleted LIMIT 1", "counts", "metrics"),
        ("INSERT INTO results_with_deleted VALUES ('b', 'test', 'm', 1, NULL)", "counts", "results"),
        ("DELETE FROM runs", "counts", "runs"),
        ("""UPDATE ingested SET "offset" = "offset" + 100000""", "journal", "shorter"),
    ],
)
def test_check_finds_what_somebody_changed(paths: StorePaths, sql: str, kind: str, word: str) -> None:
    with open_for_writing(paths) as connection:
        connection.execute(sql)
    problems = check(paths.database)
    assert any(problem.kind == kind and word in problem.message for problem in problems), list(map(str, problems))
    rebuild(paths.database, force=True)
    assert check(paths.database) == []


def test_check_finds_damaged_segments(paths: StorePaths) -> None:
    archived = next(segment for segment in segments(paths.journal) if segment.is_archived)
    content = archived.archived.read_bytes()
    archived.archived.write_bytes(content[:-20])
    plain = next(segment for segment in segments(paths.journal) if not segment.is_archived)
    with plain.plain.open("ab") as file:
        file.write(b"junk\n{half")
    texts = [str(problem) for problem in check(paths.database)]
    assert any(archived.name in text and "cannot be read to its end" in text for text in texts)
    assert any(plain.name in text and "is not ingested, it has no checksum" in text for text in texts)
