"""Checksums identify data; cached values hold only while nothing about a file has changed."""

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from harness.data import checksums
from harness.data.cache import FILE, DiskCache
from harness.errors import HarnessError
from suites.data.cache import checksum as decoded_from


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    again(monkeypatch)


def again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process has it."""
    monkeypatch.setattr(checksums, "_KNOWN", DiskCache("checksums"))
    checksums.identity_of_path.cache_clear()


def old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file have settled long ago: its inode's time cannot be set, so the limit is."""
    os.utime(path, ns=(10**18, 10**18))
    monkeypatch.setattr(checksums, "_SETTLED", -(10**12))


def test_a_file_that_changed_at_equal_size_and_time_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It kept its identity, and trials of other data counted as these."""
    folder = tmp_path / "own"
    folder.mkdir()
    file = folder / "x.csv"
    file.write_text("a,1\n")
    old(file, monkeypatch)
    before, read = checksums.identity_of_path(folder), decoded_from(folder)
    again(monkeypatch)
    assert checksums.identity_of_path(folder) == before
    state = file.stat()
    time.sleep(0.05)  # coarser than the clock of a file system
    file.write_text("a,2\n")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    again(monkeypatch)
    assert checksums.identity_of_path(folder) != before
    assert decoded_from(folder) != read
    again(monkeypatch)
    other = tmp_path / "other"
    other.write_text("a,3\n")
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    result = checksums.identity_of_path(folder)
    other.replace(file)  # renamed over it: another inode
    again(monkeypatch)
    assert checksums.identity_of_path(folder) != result


def test_a_settled_file_is_read_once_and_a_fresh_one_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x"
    file.write_text("1")
    read: list[Path] = []
    whole = checksums.checksum
    monkeypatch.setattr(checksums, "checksum", lambda path: read.append(path) or whole(path))
    for _ in range(2):
        again(monkeypatch)
        checksums.identity_of_path(file)
    assert len(read) == 2  # it could change again at the same moment
    old(file, monkeypatch)
    for _ in range(3):
        again(monkeypatch)
        checksums.identity_of_path(file)
    assert len(read) == 3


def test_names_need_not_be_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes(b"x")
    result = checksums.identity_of_path(folder)
    again(monkeypatch)
    assert checksums.identity_of_path(folder) == result


@pytest.mark.parametrize("path", ["n" * 300, "/dev/zero", "/proc/self", "/"])
def test_what_is_no_data_is_refused_with_its_name(path: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError) as caught:
        checksums.identity_of_path(tmp_path / path)
    assert path[:200] in str(caught.value)


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


def test_a_read_only_folder_only_means_computing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
