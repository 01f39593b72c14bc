"""The cache on disk: what it keeps, and that losing it only means computing again."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from harness.data.cache import FILE, DiskCache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def kept(kind: str, version: str, content: bytes) -> object:
    """The value as a new process would read it."""
    fresh = DiskCache(kind, version)
    return fresh.get(fresh.key(content))


def keep(kind: str, version: str, content: bytes, value: object) -> None:
    cache = DiskCache(kind, version)
    cache.put(cache.key(content), value)
    cache.save()


def test_values_are_kept_by_kind_version_and_content(folder: Path) -> None:
    keep("yaml", "1", b"a", [1, "x", None])
    keep("modules", "1", b"a", {"b": 2.5})
    assert kept("yaml", "1", b"a") == [1, "x", None]
    assert kept("modules", "1", b"a") == {"b": 2.5}
    assert kept("yaml", "2", b"a") is None
    assert kept("yaml", "1", b"b") is None


def test_the_oldest_values_are_dropped(folder: Path) -> None:
    keep("other", "", b"0", 0)
    cache = DiskCache("few", most=3)
    for number in range(5):
        cache.put(str(number), number)
        cache.save()
    assert [DiskCache("few").get(str(number)) for number in range(5)] == [None, None, 2, 3, 4]
    assert kept("other", "", b"0") == 0


def test_a_damaged_file_is_begun_anew(folder: Path) -> None:
    folder.mkdir()
    (folder / FILE).write_bytes(b"no database at all" * 100)
    assert kept("yaml", "1", b"a") is None
    keep("yaml", "1", b"a", 1)
    keep("yaml", "1", b"a", 2)
    assert kept("yaml", "1", b"a") == 2


def test_a_folder_that_cannot_be_written_only_means_computing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file"))
    cache = DiskCache("yaml", "1")
    cache.put("a", 1)
    cache.save()
    assert cache.get("a") == 1
    assert DiskCache("yaml", "1").get("a") is None


def test_a_file_that_another_process_holds_only_means_computing_again(folder: Path) -> None:
    keep("yaml", "1", b"a", 1)
    with sqlite3.connect(folder / FILE) as other:
        other.execute("BEGIN EXCLUSIVE")
        keep("yaml", "1", b"b", 2)
        assert kept("yaml", "1", b"a") is None
    assert kept("yaml", "1", b"a") == 1


def test_threads_share_one_cache(folder: Path) -> None:
    cache = DiskCache("yaml", "1")
    cache.get("begun in this thread")
    threads = [threading.Thread(target=lambda n=n: (cache.put(str(n), n), cache.save())) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [DiskCache("yaml", "1").get(str(n)) for n in range(4)] == [0, 1, 2, 3]
