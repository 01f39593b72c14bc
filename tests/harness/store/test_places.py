"""Files that are not a store are refused by name."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store import StoreError, StorePaths, Writer, open_reader
from harness.store.event_log import segments
from harness.store.rebuild import check, rebuild


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_file(path: Path) -> None:
    path.write_text("x")


USES: dict[str, Callable[[Path], object]] = {
    "write": lambda path: Writer(path).open(),
    "read": lambda path: open_reader(path).query("SELECT 1"),
    "check": check,
    "rebuild": rebuild,
}
ODD: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a pipe as database": ("", a_pipe, "is not a regular file"),
    "a folder as database": ("", a_folder, "is not a regular file"),
    "a loop of links": ("", lambda path: path.symlink_to(path), "cannot be a database"),
    "a text as database": ("", a_file, "is not a DuckDB database"),
    "a folder as lock": (".lock", a_folder, "is not a regular file"),
    "a pipe as lock": (".lock-wait", a_pipe, "is not a regular file"),
    "a folder as log": (".wal", a_folder, "is not a regular file"),
    "a file as event log": (".journal", a_file, "where the event log's folder belongs"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_store_is_refused(odd: str, use: str, tmp_path: Path) -> None:
    suffix, make, message = ODD[odd]
    database = tmp_path / "h.duckdb"
    if suffix:
        Writer(database).open().close()
        place = database.with_name(database.name + suffix)
        if place.is_dir():
            place.rename(tmp_path / "aside")
        place.unlink(missing_ok=True)
        make(place)
    else:
        make(database)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(StoreError, match=message):
        USES[use](database)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.timeout(20)
def test_what_is_no_segment_is_passed_over(tmp_path: Path) -> None:
    database = tmp_path / "h.duckdb"
    Writer(database).open().close()
    journal = StorePaths.of(database).journal
    before = segments(journal)
    os.mkfifo(journal / "pipe.jsonl")
    (journal / "folder.jsonl.gz").mkdir()
    assert segments(journal) == before
    assert check(database) == []


def test_a_file_system_without_locks_is_refused_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, mode: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StoreError, match=r"does not lock files \(No locks available\).*a disk of this machine"):
        Writer(tmp_path / "h.duckdb").open()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_can_be_read(tmp_path: Path) -> None:
    database = tmp_path / "store" / "h.duckdb"
    Writer(database).open().close()
    for path in (*database.parent.glob("h.duckdb*"), database.parent):
        path.chmod(0o555)
    try:
        with open_reader(database) as reader:
            assert reader.query("SELECT 1").rows == [(1,)]
        with pytest.raises(StoreError, match="cannot be written"):
            Writer(database).open()
    finally:
        database.parent.chmod(0o755)
