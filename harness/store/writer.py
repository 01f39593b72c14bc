"""The writer of a run's events; it keeps database and snapshot current.

Several writers may live on one database. Each writes its own log segment; all ingest all log segments, under one
lock, and the counters make that exactly once.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from harness.store.connections import release, remove_left_overs, take_snapshot, using, writing
from harness.store.errors import StoreDiskError, StoreError, StoreHeldError
from harness.store.event_log import EventLog, LogSegment, segments
from harness.store.events import AbandonedEvent, Event, SessionEvent
from harness.store.ingest import counters, ingest, refused_events
from harness.store.paths import StorePaths
from harness.store.readers import Reader
from harness.store.schema import ROOM

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


class Writer:
    """Record a session's events, the database at most a second behind.

    Use as a context manager. ``record`` is safe from any thread and never waits for the database: when a
    foreign process holds the file, the event log grows and the database follows when it is free again.

    Args:
        database: path of the file; made with its folder if it is missing.
        run_id: the run this session executes; None for sessions without a run (claims, verdicts).
        ingest_seconds: pause between two updates of database and snapshot, each a twentieth of the time at most.
        tell: takes messages for the terminal (default: a line on standard error).

    Raises:
        StoreError: on entering, if the file is damaged, not ours, or of a newer schema.
    """

    def __init__(
        self,
        database: str | os.PathLike[str],
        run_id: str | None = None,
        *,
        ingest_seconds: float = 5.0,
        tell: Callable[[str], None] = _tell,
    ) -> None:
        self.paths = StorePaths.of(database)
        self.run_id = run_id
        self._ingest_seconds = ingest_seconds
        self._tell = tell
        self._told: str | None = None
        self._journal: EventLog | None = None
        self._ingested = -1
        self._pause = ingest_seconds
        self._published = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._work = threading.Lock()

    @property
    def journal(self) -> EventLog:
        """The log segment of this session.

        Raises:
            StoreError: the writer is not open.
        """
        if self._journal is None:
            raise StoreError("the writer of the store is not open: use `with Writer(path) as owner:`")
        return self._journal

    def open(self) -> Self:
        """Make or migrate the database, ingest what dead writers left, start."""
        try:
            self.paths.database.parent.mkdir(parents=True, exist_ok=True)
            self._hold(lambda connection: remove_left_overs(self.paths))
        except StoreHeldError as held:
            self._tell_held(held)
        except OSError as error:
            raise StoreError(f"no database can be made at {self.paths.database}: {error}") from error
        session = self.run_id or f"session-{secrets.token_hex(4)}"
        try:
            self._journal = EventLog(self.paths.journal, session)
        except OSError as error:
            raise StoreError(f"no event log can be written in {self.paths.journal}: {error}") from error
        self.record(SessionEvent(self.run_id, os.getpid(), socket.gethostname()))
        with contextlib.suppress(StoreHeldError):
            self._take_over()
        self._thread = threading.Thread(target=self._keep_up, name="store-owner", daemon=True)
        self._thread.start()
        return self

    __enter__ = open

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, event: Event, durable: bool | None = None) -> None:
        """Append an event to the event log.

        Returns when the line is on the disk, except for heartbeats and starts, which nobody waits for: a trial whose
        start is lost with the power has no outcome either and is run again.

        Raises:
            StoreError: the event is not well-formed, or the disk does not take it.
        """
        self.journal.append(event, durable)

    def finished(self, trial_ids: Iterable[str]) -> dict[str, str]:
        """Those of the trials that have a result (``done``, ``diverged``), and which."""
        with self.reader() as reader:
            return reader.finished(trial_ids)

    def reader(self) -> Reader:
        """Open a reader of everything recorded, even while the file is held.

        Raises:
            StoreError: the database cannot be brought up to date for another reason.
        """
        try:
            with self._work:
                self._ingest_all()
        except StoreHeldError as held:
            self._tell_held(held)
            return Reader(self.paths)
        return Reader(self.paths, own=True)

    def nameless(self, trial_ids: Iterable[str]) -> set[str]:
        """Those of the trials whose row lacks its content: the line that had it is damaged or lost."""
        with self.reader() as reader:
            sql = "SELECT trial_id FROM trials WHERE spec IS NULL AND trial_id = ANY(?)"
            return {name for (name,) in reader.query(sql, [list(trial_ids)])}

    def flush(self) -> None:
        """Bring the database up to date now, and release the file.

        Raises:
            StoreHeldError: a foreign process holds the file; the event log has everything.
        """
        with self._work:
            self._ingest_all()
            release(self.paths)

    def release(self) -> None:
        """Let other processes have the file now, not a moment later."""
        release(self.paths)

    def refused(self) -> list[str]:
        """Reasons why events of this session are not in the database; they stay in the event log.

        Raises:
            StoreHeldError: a foreign process holds the file.
        """
        with self._work:
            self._ingest_all()
            return self._hold(lambda connection: refused_events(connection, self.journal.segment))

    def close(self, wait_seconds: float = 5.0) -> None:
        """Ingest the rest, checkpoint, snapshot, archive the log segment. Idempotent.

        If the file stays held for ``wait_seconds``, the log segment is left to the next writer.
        """
        if self._journal is None:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        journal, self._journal = self._journal, None
        deadline = time.monotonic() + wait_seconds
        try:
            journal.finish()
            while not self._settle_own(journal):
                if time.monotonic() > deadline:
                    self._tell(
                        f"{self.paths.database} is not up to date; everything is in {journal.path} "
                        "and the next harness command that writes takes it in"
                    )
                    break
                time.sleep(0.1)
        finally:
            journal.close()
            release(self.paths)

    # the file

    def _hold(self, use: Callable[[DuckDBPyConnection], T]) -> T:
        own_thread = threading.current_thread() is self._thread  # it comes back after a pause, not at once
        with using(self.paths, linger=not own_thread) as connection:
            return use(connection)

    def _ingest_all(self) -> None:
        upto = self._journal.written if self._journal is not None else self._ingested
        self._hold(lambda connection: ingest(connection, self.paths.journal))
        self._ingested, self._published = upto, False

    # the thread

    def _keep_up(self) -> None:
        while not self._stop.wait(self._pause):
            started = time.monotonic()
            with self._work:
                self._tick()
            self._pause = max(self._ingest_seconds, 19 * (time.monotonic() - started))

    def _tick(self) -> None:
        try:
            if self.journal.written != self._ingested:
                self._ingest_all()
            self._published = self._published or take_snapshot(self.paths)
            if self._told is not None:
                self._tell(f"{self.paths.database} is free again and up to date")
                self._told = None
        except StoreHeldError as held:
            self._tell_held(held)
        except Exception as error:  # the thread must outlive whatever happens: the event log is safe
            self._tell_once(str(error), f"cannot be brought up to date ({error}); the event log goes on")

    def _tell_held(self, held: StoreHeldError) -> None:
        self._tell_once(held.holder, f"is held by {held.holder}; the run goes on and catches up later")

    def _tell_once(self, reason: str, message: str) -> None:
        if self._told != reason:
            self._told = reason
            self._tell(f"{self.paths.database} {message}")

    # log segments

    def _take_over(self) -> None:
        """Ingest what dead writers left, log that, and archive their log segments."""
        dead = [segment for segment in segments(self.paths.journal) if not segment.is_archived]
        dead = [segment for segment in dead if segment.plain != self.journal.path and not segment.is_alive]
        self._ingest_all()
        runs = {run_id for segment in dead if (run_id := _run_of(segment)) and run_id != self.run_id}
        for run_id in sorted(runs):
            left = self._hold(partial(_left_behind, run_id=run_id))
            if left is not None:
                self.record(AbandonedEvent(run_id, left))
        if runs:
            self._ingest_all()
        older = any(segment.name != self.journal.segment for segment in segments(self.paths.journal))
        if dead or (older and not self.paths.snapshot.exists()):
            try:
                self._settle(dead)
            except StoreDiskError as error:  # space for the event log may be enough to go on
                self._tell(f"{error}; the run goes on without a new snapshot")

    def _settle_own(self, journal: EventLog) -> bool:
        own = LogSegment(self.paths.journal, journal.segment)
        try:
            self._ingest_all()
            return self._settle([own])
        except StoreHeldError as held:
            self._tell_held(held)
            return False
        except (StoreError, OSError) as error:
            self._tell(f"{error}; {self.paths.database} is not up to date, and everything is in {journal.path}")
            return True

    def _settle(self, finished: list[LogSegment]) -> bool:
        """Archive log segments once file and snapshot contain them; False if one has to stay.

        Raises:
            StoreDiskError: the disk does not take the snapshot or the archive; the log segments stay.
        """
        counted = self._hold(counters)
        try:
            if not take_snapshot(self.paths):
                return False
            with writing(self.paths):
                whole = [item for item in finished if next(item.lines(counted.get(item.name, 0)), None) is None]
                for segment in whole:
                    segment.archive(counted.get(segment.name, 0))
        except OSError as error:
            text = f"{self.paths.snapshot} cannot be brought up to date: {error.strerror or error}; {ROOM}"
            raise StoreDiskError(text) from error
        self._published = True
        return len(whole) == len(finished)


def _run_of(segment: LogSegment) -> str | None:
    first = next(segment.lines(), None)
    run_id = first.content.get("run_id") if first is not None and first.content else None
    return run_id if isinstance(run_id, str) else None


def _left_behind(connection: DuckDBPyConnection, run_id: str) -> list[str] | None:
    """Unfinished trials of a dead run that no other running run requests; None if it had ended."""
    sql = "SELECT status FROM runs WHERE run_id = ? AND finished_at IS NULL AND status = 'running'"
    if not connection.execute(sql, [run_id]).fetchall():
        return None
    rows = connection.execute(
        """
        SELECT DISTINCT trial_id FROM run_trials JOIN trials USING (trial_id)
        WHERE run_id = $run AND status IN ('queued', 'running') AND trial_id NOT IN (
            SELECT other.trial_id FROM run_trials AS other JOIN runs USING (run_id)
            WHERE run_id <> $run AND runs.status = 'running'
        )
        ORDER BY trial_id
        """,
        {"run": run_id},
    ).fetchall()
    return [trial_id for (trial_id,) in rows]
