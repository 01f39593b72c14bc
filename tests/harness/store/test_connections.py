"""One connection serves uses that follow one another, and is released between."""

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.group import run_main
from harness.store import StorePaths, Writer, connections, readers, schema
from harness.store.connections import process_lock, release, using, writing
from harness.store.locking import is_free


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files opened in this process; an unused connection is kept until the file is needed."""
    names: list[str] = []
    connect = schema.connect

    def counted(path: Path, **options: object) -> object:
        names.append(path.name)
        return connect(path, **options)  # type: ignore[arg-type]

    for module in (schema, readers):
        monkeypatch.setattr(module, "connect", counted)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 3600.0)
    return names


def test_a_run_of_two_trials_opens_the_database_before_and_after_them(
    tiny: Path, database: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "_keep_up", lambda owner: owner._stop.wait())  # opens by the clock
    command = ["run", str(tiny), "--executor", "inline", "--no-report", "--no-tuned", "--db", str(database)]
    assert run_main([*command, "--seeds", "1"]) == 0
    created = [name for name in opened if ".new-" in name]
    assert (len(created), len(opened) - len(created)) == (1, 2)
    opened.clear()
    assert run_main([*command, "--seeds", "2"]) == 0
    assert len(opened) == 2


def test_uses_share_a_connection_and_copies_close_it(paths: StorePaths, opened: list[str]) -> None:
    for _ in range(3):
        with using(paths) as connection:
            connection.execute("SELECT 1")
    assert opened.count("h.duckdb") == 1
    with writing(paths):
        assert process_lock(paths).kept is None
    with using(paths):
        pass
    assert opened.count("h.duckdb") == 2
    release(paths)


def test_whoever_waits_gets_the_file(paths: StorePaths, opened: list[str]) -> None:
    """A second lock on the same files, as another process has it."""
    with using(paths):
        assert not is_free(paths.lock)
    with paths.turnstile.open("rb") as waiting:
        fcntl.flock(waiting, fcntl.LOCK_SH)
        assert not is_free(paths.turnstile)
        with pytest.raises(Exception, match="in use"), using(paths, timeout=0.05):
            pass
        assert is_free(paths.lock), "the kept connection made way"
    with using(paths, linger=False):
        pass
    assert process_lock(paths).kept is None


def test_a_failed_use_closes(paths: StorePaths, opened: list[str]) -> None:
    with pytest.raises(ValueError, match="no"), using(paths):
        raise ValueError("no")
    assert is_free(paths.lock)
    assert process_lock(paths).kept is None


def test_an_unused_connection_is_closed(paths: StorePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Callable[[], None]] = []

    class Held(threading.Timer):
        def start(self) -> None:
            started.append(self.run)

    monkeypatch.setattr(connections.threading, "Timer", Held)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.0)
    with using(paths):
        pass
    monkeypatch.setattr(connections.threading, "current_thread", lambda: process_lock(paths)._timer)
    assert not is_free(paths.lock)
    started[-1]()
    assert is_free(paths.lock)


def test_closing_a_writer_releases_the_file(paths: StorePaths, opened: list[str]) -> None:
    with Writer(paths.database) as writer, writer.reader() as reader:
        assert reader.finished(["a"]) == {}
        assert not is_free(paths.lock)
    assert is_free(paths.lock)
