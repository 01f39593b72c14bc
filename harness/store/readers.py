"""Read the database, the one way in which this program does.

A query first gets a short look at the file itself. Where that cannot be (a writer waits, a foreign process
holds it, it is behind the event log) or takes longer than 200 ms, the reader makes a private copy of the
snapshot, adds the event log's events after the snapshot's counter, and asks that. Either way an answer is
two seconds old at most.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from harness.store.connections import release, using
from harness.store.errors import StoreDamagedError, StoreError, StoreHeldError
from harness.store.ingest import behind, counters, ingest
from harness.store.locking import looking
from harness.store.paths import StorePaths
from harness.store.queries import Parameters, Queries, QueryResult
from harness.store.sandbox import refuse_writing
from harness.store.schema import (
    SANDBOX,
    Config,
    connect,
    is_damage,
    open_for_writing,
    schema_number,
    telling_blocks,
    usable_schema,
)
from harness.store.snapshot import copy_database

T = TypeVar("T")

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    Take = Callable[[DuckDBPyConnection, str, Any, threading.Event], T]
    """Runs a statement and takes its answer in some form, until the event says that its time is up."""

LOOK_SECONDS = 0.2
"""Longest look at the file itself."""

WAIT_SECONDS = 0.1
"""Longest wait for a writer before reading the file itself."""

FRESH_SECONDS = 1.0
"""A file or copy that is behind a living writer's event log is fresh enough for this long."""

COPY_SECONDS = 1.0
"""Longest wait to copy the file from a writer: after it, the snapshot and the event log make a copy."""

_STALE_SNAPSHOT_SECONDS = 60.0

_ROWS_AT_ONCE = 5000
MOST_ROWS = 1_000_000
MOST_BYTES = 256 << 20
"""Of an answer to what a person typed; it is held in memory."""


class _SlowError(Exception):
    """The look took too long."""


class _StaleError(Exception):
    """The file is behind the event log, or of an older schema."""


def open_reader(database: str | os.PathLike[str], *, sandbox: bool = False, consistent: bool = False) -> Reader:
    """A reader of the database; use as a context manager.

    Args:
        database: path of the file.
        sandbox: for SQL that a person typed: reading statements only, no files, settings locked.
        consistent: all queries see one moment (a private copy), as a report needs.

    Raises:
        StoreError: the database does not exist.
    """
    return Reader(StorePaths.of(database), sandbox=sandbox, consistent=consistent)


class Reader(Queries):
    """Answers queries; see :func:`open_reader`. Safe to use from one thread at a time.

    Answers never go back in time. ``source`` says where the last one came from (``database`` or ``copy``);
    ``holder`` names the foreign process that held the file then, or is None.
    """

    def __init__(self, paths: StorePaths, *, sandbox: bool = False, consistent: bool = False) -> None:
        self.paths = paths
        self.sandbox = sandbox
        self.consistent = consistent
        self.source = "database"
        self.holder: str | None = None
        self._slow: set[str] = set()
        self._seen: dict[str, int] = {}
        self._copy: _PrivateCopy | None = None
        self._spill: tempfile.TemporaryDirectory[str] | None = None
        self._config: Config = SANDBOX if sandbox else {}
        paths.check()
        if not paths.database.exists():
            raise _missing(paths)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the private copy and the folder for spilling."""
        if self._spill is not None:
            self._spill.cleanup()
            self._spill = None
        if self._copy is not None:
            self._copy.close()
            self._copy = None
        release(self.paths, writer=False)

    def query(self, sql: str, params: Parameters = ()) -> QueryResult:
        """The answer to one statement.

        Raises:
            StoreError: the statement is wrong, or (``sandbox``) does more than read.
        """
        return self._answer(sql, params, partial(_table, most=MOST_ROWS if self.sandbox else None))

    def arrow(self, sql: str, params: Parameters = ()) -> pa.Table:
        """The answer as an Arrow table; raises as :meth:`query`."""
        return self._answer(sql, params, _arrow)

    def frame(self, sql: str, params: Parameters = ()) -> pd.DataFrame:
        """The answer as a pandas frame; raises as :meth:`query`."""
        return self._answer(sql, params, _frame)

    def _answer(self, sql: str, params: Parameters, take: Take[T]) -> T:
        if self.sandbox:
            self._refuse(sql)
        if not self.consistent and sql not in self._slow:
            try:
                answer = self._look(sql, params, take)
            except _SlowError:
                self._slow.add(sql)
            except _StaleError:
                pass
            except StoreHeldError as held:
                self.holder = held.holder if held.foreign else None
            else:
                self.source, self.holder = "database", None
                return answer
        if self._copy is None:
            self._copy = _PrivateCopy(self.paths, self._config)
        elif not self.consistent:
            self._copy.refresh(self._seen)
        self._seen = self._copy.counted
        answer = self._run(self._copy.connection, sql, params, take)
        self.source = "copy"
        return answer

    def _refuse(self, sql: str) -> None:
        """Refuse what does more than read; give what spills its own folder.

        A statement may read and write in DuckDB's own folder for that, beside the database.
        """
        import duckdb

        try:
            refuse_writing(sql)
        except duckdb.Error as error:
            raise _sql_error(error, sql) from error
        if self._spill is None:
            self._spill = tempfile.TemporaryDirectory(prefix="harness-query-", ignore_cleanup_errors=True)
            self._config = {**self._config, "temp_directory": self._spill.name}

    def _look(self, sql: str, params: Parameters, take: Take[T]) -> T:
        with self._opened() as connection:
            newest = schema_number()
            if usable_schema(self.paths.database, connection, newest) < newest or self._is_behind(connection):
                raise _StaleError
            return self._run(connection, sql, params, take, LOOK_SECONDS)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[DuckDBPyConnection]:
        """The file itself; for a person's SQL by a connection with separate settings."""
        if not self.sandbox:
            with using(self.paths, write=False, timeout=WAIT_SECONDS) as connection:
                yield connection
            return
        with (
            looking(self.paths, WAIT_SECONDS),
            contextlib.closing(connect(self.paths.database, read_only=True, config=self._config)) as connection,
        ):
            yield connection

    def _run(
        self, connection: DuckDBPyConnection, sql: str, params: Parameters, take: Take[T], seconds: float | None = None
    ) -> T:
        """Run a statement; a block that DuckDB cannot read is reported with what mends the file."""
        import duckdb

        values = dict(params) if isinstance(params, dict) else list(params)
        # A separate cursor: a connection with an answer that was not read to its end takes no other statement.
        with (
            telling_blocks(self.paths.database),
            contextlib.closing(connection.cursor()) as cursor,
            _limited(cursor, seconds) as expired,
        ):
            try:
                return take(cursor, sql, values, expired)
            except duckdb.Error as error:
                if expired.is_set():
                    raise _SlowError from error
                if is_damage(error):
                    raise
                raise _sql_error(error, sql) from error

    def _is_behind(self, connection: DuckDBPyConnection) -> bool:
        """True if the file lacks events that nobody ingests, or seen ones."""
        counted = counters(connection)
        if _is_before(counted, self._seen):
            return True
        late = behind(self.paths.journal, counted)
        age = min(_age(self.paths.database), _age(self.paths.wal), key=abs)
        fresh = abs(age) <= FRESH_SECONDS  # a file from the future was written before the clock was put back
        if late and not (fresh and all(segment.is_alive for segment in late)):
            return True
        self._seen = counted
        return False


class _PrivateCopy:
    """A temporary copy of the database, updated from the event log."""

    def __init__(self, paths: StorePaths, config: Config) -> None:
        self._source = paths
        self._config = config
        self._folder = tempfile.TemporaryDirectory(prefix="harness-reader-", ignore_cleanup_errors=True)
        self._paths = StorePaths.of(Path(self._folder.name) / "copy.duckdb")
        try:
            self._fill()
            self._catch_up()
            self.connection = connect(self._paths.database, read_only=True, config=config)
        except BaseException as error:
            self._folder.cleanup()
            if isinstance(error, OSError | StoreError):
                raise self._told(error) from error
            raise
        self._refreshed = time.monotonic()

    def _told(self, error: OSError | StoreError) -> StoreError:
        """The copy's error, naming the database and the folder for copies."""
        if isinstance(error, OSError):
            place = f"{tempfile.gettempdir()} (TMPDIR names another folder)"
            return StoreError(f"{self._source.database} cannot be copied to {place}: {error.strerror or error}")
        if isinstance(error, StoreDamagedError):
            return StoreDamagedError(str(error).replace(str(self._paths.database), str(self._source.database)))
        return error

    def _fill(self) -> None:
        """Copy the newest whole database there is; none is fine, since the event log can make it."""
        snapshot, database = self._source.snapshot, self._source.database
        stale = _age(snapshot) - _age(database) > _STALE_SNAPSHOT_SECONDS
        for from_file in (stale, not stale):
            try:
                if from_file:
                    with looking(self._source, timeout=COPY_SECONDS):
                        copy_database(self._source, self._paths.database)
                else:
                    shutil.copyfile(snapshot, self._paths.database)
                opened = connect(self._paths.database, read_only=True)
            except (FileNotFoundError, StoreHeldError, StoreDamagedError):
                self._paths.remove()
            except StoreError as error:
                if from_file:
                    raise StoreError(str(error).replace(str(self._paths.database), str(database))) from error
                self._paths.remove()
            else:
                with contextlib.closing(opened):
                    usable_schema(database, opened, schema_number())
                return

    def _catch_up(self) -> None:
        with open_for_writing(self._paths) as connection:
            ingest(connection, self._source.journal)
            self.counted = counters(connection)

    def refresh(self, seen: dict[str, int]) -> None:
        """Add new events, unless just done and nothing later was ``seen``."""
        if time.monotonic() - self._refreshed < FRESH_SECONDS and not _is_before(self.counted, seen):
            return
        if behind(self._source.journal, self.counted):
            self.connection.close()
            self._catch_up()
            self.connection = connect(self._paths.database, read_only=True, config=self._config)
        self._refreshed = time.monotonic()

    def close(self) -> None:
        self.connection.close()
        self._folder.cleanup()


def _sql_error(error: Exception, sql: str) -> StoreError:
    text = str(error).split("\nLINE ")[0]
    text = " ".join(text.split())
    if "disabled by configuration" in text or "configuration has been locked" in text:
        return StoreError(f"a query reads this database and nothing else, and changes no setting: {text}")
    if text.startswith("Parser Error") and (word := re.search(r'(?<!")\b(at|offset)\b', sql, re.IGNORECASE)):
        text += f'; if a column is meant, write it with quotes: "{word[1]}"'
    return StoreError(f"the query failed: {text}")


def _table(
    connection: DuckDBPyConnection, sql: str, params: Any, expired: threading.Event, most: int | None = None
) -> QueryResult:
    # An empty list of parameters is not the same as none: it has DuckDB prepare the statement.
    connection.execute(sql, params) if params else connection.execute(sql)
    described = connection.description or []
    rows: list[tuple[Any, ...]] = []
    held = 0
    while chunk := connection.fetchmany(_ROWS_AT_ONCE):
        rows.extend(chunk)
        if most is not None and len(rows) > most:
            raise StoreError(f"the answer has more than {most:,} rows; say LIMIT, or 'harness export --to parquet DIR'")
        if most is not None:
            held += sum(len(value) for row in chunk for value in row if isinstance(value, str | bytes))
            if held > MOST_BYTES:
                text = f"the answer has more than {MOST_BYTES >> 20} MB of text"
                raise StoreError(f"{text}; say LIMIT, or 'harness export --to parquet DIR'")
        if expired.is_set():
            raise _SlowError
    return QueryResult([column[0] for column in described], [str(column[1]) for column in described], rows)


def _arrow(connection: DuckDBPyConnection, sql: str, params: Any, expired: threading.Event) -> pa.Table:
    return connection.sql(sql, params=params or None).to_arrow_table()


def _frame(connection: DuckDBPyConnection, sql: str, params: Any, expired: threading.Event) -> pd.DataFrame:
    return connection.sql(sql, params=params or None).df()


@contextlib.contextmanager
def _limited(connection: DuckDBPyConnection, seconds: float | None) -> Iterator[threading.Event]:
    """Interrupt the statement when its time is up, and set the event."""
    expired = threading.Event()
    if seconds is None:
        yield expired
        return

    def end() -> None:
        expired.set()
        connection.interrupt()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        timer.join()


def _is_before(counted: dict[str, int], seen: dict[str, int]) -> bool:
    return any(counted.get(segment, 0) < end for segment, end in seen.items())


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _missing(paths: StorePaths) -> StoreError:
    text = f"there is no database at {paths.database}"
    if paths.journal.is_dir() and any(paths.journal.iterdir()):
        return StoreError(f"{text}, but its event log is there: `harness db rebuild --db {paths.database}` makes it")
    return StoreError(f"{text}; `harness run SUITE` makes one, --db or HARNESS_DB names another")
