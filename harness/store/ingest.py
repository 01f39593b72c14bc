"""Ingest the event log into the database, each event exactly once.

A batch of whole events and the counter ``ingested(segment, offset)`` are one transaction: whatever kills the
process, either both are in the database or neither. Events of several log segments are ingested in the order of
their times, so that what a rebuild makes equals what was there.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from harness.store import deletion as deletion  # its kinds register themselves
from harness.store.errors import StoreError
from harness.store.event_log import SEALED, LogSegment, segments
from harness.store.events import VERSION, Event, kind_of, read_event
from harness.store.fold import REJECTABLE, PendingRows
from harness.store.log_lines import LineContent

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

A = TypeVar("A")
T = TypeVar("T")
BATCH_BYTES = 8 << 20
"""Bytes of event log in one transaction."""


class _Entry(NamedTuple):
    at: str
    segment: str
    end: int
    size: int
    content: LineContent | None
    damage: str = ""


def counters(connection: DuckDBPyConnection) -> dict[str, int]:
    """The ingested bytes of each log segment."""
    return dict(connection.execute('SELECT segment, "offset" FROM ingested').fetchall())


def behind(journal: Path, counted: dict[str, int]) -> list[LogSegment]:
    """Log segments that hold more than was ingested."""
    return [segment for segment in segments(journal) if segment.behind(counted.get(segment.name, 0))]


REFUSED = ("rejected", "unreadable")
"""Kinds of rows of ``events`` that record lines that were set aside."""


def refused_events(
    connection: DuckDBPyConnection, segment: str | None = None, kinds: Sequence[str] = REFUSED
) -> list[str]:
    """Lines that were set aside, of one log segment or of all: what each was, where it stands, and why."""
    sql = """
        SELECT concat(coalesce(detail->>'kind', 'a line'), ' (', detail->>'segment', ', byte ', detail->>'end', '): ',
                      detail->>'reason')
        FROM events WHERE list_contains($kinds, kind) AND ($segment IS NULL OR detail->>'segment' = $segment)
        ORDER BY detail->>'segment', CAST(detail->>'end' AS BIGINT)
    """
    return [text for (text,) in connection.execute(sql, {"segment": segment, "kinds": list(kinds)}).fetchall()]


def ingest(connection: DuckDBPyConnection, journal: Path) -> None:
    """Ingest what is new.

    Raises:
        duckdb.Error: the database does not take it (a full disk, say); the last batch is not in.
        StoreError: a newer version wrote a log segment; none of it counts as ingested, so that nothing is lost.
    """
    counted = counters(connection)
    streams = [_entries(segment, counted.get(segment.name, 0)) for segment in behind(journal, counted)]
    for batch in _batches(heapq.merge(*streams, key=lambda entry: entry.at)):
        _ingest_batch(connection, batch)


def _entries(segment: LogSegment, offset: int) -> Iterator[_Entry]:
    at = ""
    with contextlib.suppress(StoreError):  # one damaged archive must not hold up the others; `check` names it
        for line in segment.lines(offset):
            stated = line.content.get("at") if line.content else None
            # Inside a log segment the order of lines rules, whatever the clock did meanwhile.
            at = max(at, stated) if isinstance(stated, str) else at
            yield _Entry(at, segment.name, line.end, line.end - offset, line.content, line.damage)
            offset = line.end


def _batches(entries: Iterator[_Entry]) -> Iterator[list[_Entry]]:
    batch: list[_Entry] = []
    size = 0
    for entry in entries:
        alone = _is_alone(entry)
        if alone and batch:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
        if alone or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _is_alone(entry: _Entry) -> bool:
    kind = kind_of(entry.content) if entry.content else None
    return kind is not None and kind.alone


def _ingest_batch(connection: DuckDBPyConnection, entries: list[_Entry]) -> None:
    import duckdb

    refusals = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException, *REJECTABLE)
    try:
        _transact(connection, entries)
    except refusals:
        # One event that the tables do not take must not hold up the others: find it and set it aside.
        for entry in entries:
            try:
                _transact(connection, [entry])
            except refusals as error:
                _transact(connection, [entry], reason=str(error))


def _transact(connection: DuckDBPyConnection, entries: list[_Entry], reason: str | None = None) -> None:
    import duckdb

    events = [_tried(_read, entry) if reason is None else reason for entry in entries]
    connection.execute("BEGIN")
    try:
        rows = PendingRows(connection, [event for event in events if isinstance(event, Event)])
        for entry, event in zip(entries, events, strict=True):
            refused = _tried(event.fold, rows) if isinstance(event, Event) else event
            if refused is not None:
                rows.reject(entry.content, entry.segment, entry.end, refused)
            rows.put("ingested", {"segment": entry.segment, "offset": entry.end})
        rows.write()
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(duckdb.Error):  # a failed commit has undone itself; the first error is reported
            connection.rollback()
        raise


def _read(entry: _Entry) -> Event | str:
    written_by = entry.content.get("v") if entry.content else None
    # In log segments without checksums it may be a flipped digit; those are of versions before this one.
    if isinstance(written_by, int) and written_by > VERSION and entry.segment.endswith(SEALED):
        raise StoreError(
            f"the log segment {entry.segment} has version {written_by} and this harness knows versions up to "
            f"{VERSION}: a newer one wrote it. Upgrade harness, or name another database with --db or HARNESS_DB"
        )
    return entry.damage if entry.content is None else read_event(entry.content)


def _tried(call: Callable[[A], T], argument: A) -> T | str:
    """The result of a call, or why a line makes no sense."""
    try:
        return call(argument)
    except REJECTABLE as error:
        return f"{type(error).__name__}: {error}"
