"""Read the database: its snapshot, in place, where that contains the whole event log; else a private copy.

Writers publish a snapshot and go on logging. A reader never opens the file itself, so it waits for nobody and nobody
waits for it: where the event log is ahead, it copies the snapshot and ingests the rest. An answer contains all that was
logged when its reader was opened, and all but the last second of what was logged since.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from harness.store.connections import copy_current, using
from harness.store.errors import StoreDamagedError, StoreError, StoreHeldError
from harness.store.ingest import behind, counters, ingest
from harness.store.paths import StorePaths
from harness.store.queries import Parameters, Queries, QueryResult
from harness.store.schema import (
    SANDBOX,
    connect,
    is_damage,
    open_for_writing,
    schema_number,
    telling_blocks,
    usable_schema,
)

T = TypeVar("T")

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    Take = Callable[[DuckDBPyConnection, str, Any], T]
    """Runs a statement and takes its answer in some form."""

FRESH_SECONDS = 1.0
"""Shortest time between two updates from the event log of a living writer."""

HELD_SECONDS = 1.0
"""Longest wait for a writer, where there is no snapshot or it is old."""

_STALE_SNAPSHOT_SECONDS = 60.0

_ROWS_AT_ONCE = 5000
MOST_ROWS = 1_000_000
MOST_BYTES = 256 << 20
"""Of an answer to what a person typed; it is held in memory."""


def open_reader(database: str | os.PathLike[str], *, sandbox: bool = False, consistent: bool = False) -> Reader:
    """A reader of the database; use as a context manager.

    Args:
        database: path of the file.
        sandbox: for SQL that a person typed: reading statements only, no files, settings locked.
        consistent: all queries see one moment, as a report needs.

    Raises:
        StoreError: the database does not exist, or no temporary folder can be made.
    """
    return Reader(StorePaths.of(database), sandbox=sandbox, consistent=consistent)


class Reader(Queries):
    """Answers queries; see :func:`open_reader`. Safe to use from one thread at a time.

    Answers never go back in time. ``own``: of a writer of this process, which reads the file itself while it can.
    """

    def __init__(
        self, paths: StorePaths, *, sandbox: bool = False, consistent: bool = False, own: bool = False
    ) -> None:
        paths.check()
        if not paths.database.exists():
            raise _missing(paths)
        self.paths, self.sandbox, self.consistent, self._own = paths, sandbox, consistent, own
        self._connection: DuckDBPyConnection | None = None
        self._counted: dict[str, int] = {}
        self._refreshed = 0.0
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="harness-reader-", ignore_cleanup_errors=True)
        except OSError as error:
            raise self._explained(error) from error
        # A statement may read and write in DuckDB's folder for what spills; by default that is beside the database.
        self._config = {**SANDBOX, "temp_directory": f"{self._folder.name}/spill"} if sandbox else {}
        self._copy = StorePaths.of(Path(self._folder.name) / paths.database.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the snapshot or remove the private copy."""
        self._close_connection()
        self._folder.cleanup()

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
        """Run a statement; a block that DuckDB cannot read is reported with what mends the file."""
        import duckdb

        values = dict(params) if isinstance(params, dict) else list(params)
        with contextlib.ExitStack() as held:
            try:
                if self.sandbox:
                    _refuse_writing(sql)
                held.enter_context(telling_blocks(self.paths.database))
                # A separate cursor: a connection with an answer that was not read to its end takes no other statement.
                cursor = held.enter_context(contextlib.closing(self._current(held).cursor()))
                return take(cursor, sql, values)
            except duckdb.Error as error:
                if is_damage(error):
                    raise
                raise _sql_error(error, sql) from error

    def _current(self, held: contextlib.ExitStack) -> DuckDBPyConnection:
        """A connection that sees what has been logged."""
        if self._own:
            try:
                return held.enter_context(using(self.paths, HELD_SECONDS))
            except StoreHeldError:
                self._own = False  # for good: the copy may be ahead of the file
        connection = self._connection
        if connection is None:
            connection = self._connection = self._snapshot() or self._private_copy()
        elif not self.consistent:
            late = behind(self.paths.journal, self._counted)
            due = time.monotonic() - self._refreshed >= FRESH_SECONDS
            if late and (due or not all(segment.is_alive for segment in late)):
                self._close_connection()
                connection = self._connection = self._private_copy()
        return connection

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _snapshot(self) -> DuckDBPyConnection | None:
        """The snapshot in place; None if it lacks part of the event log or cannot be read."""
        import duckdb

        if self._is_stale():
            return None
        with contextlib.suppress(StoreError, duckdb.Error), contextlib.ExitStack() as unusable:
            connection = connect(self.paths.snapshot, read_only=True, config=self._config)
            unusable.callback(connection.close)
            newest = schema_number()
            if usable_schema(self.paths.snapshot, connection, newest) == newest:
                self._counted = counters(connection)
                if not behind(self.paths.journal, self._counted):
                    self._refreshed = time.monotonic()
                    unusable.pop_all()
                    return connection
        return None

    def _private_copy(self) -> DuckDBPyConnection:
        """The copy with the whole event log; made first, if there is none."""
        try:
            if not self._copy.database.exists():
                self._fill()
            with open_for_writing(self._copy) as connection:
                ingest(connection, self.paths.journal)
                self._counted = counters(connection)
            self._refreshed = time.monotonic()
            return connect(self._copy.database, read_only=True, config=self._config)
        except (OSError, StoreError) as error:
            raise self._explained(error) from error

    def _fill(self) -> None:
        """Copy the newest whole database there is; none is fine, since the event log can make it."""
        stale = self._is_stale()
        for from_file in (stale, not stale):
            try:
                if from_file:
                    copy_current(self.paths, self._copy.database, HELD_SECONDS)
                else:
                    shutil.copyfile(self.paths.snapshot, self._copy.database)
                opened = connect(self._copy.database, read_only=True)
            except (FileNotFoundError, StoreHeldError, StoreDamagedError):
                self._copy.remove()
            except StoreError:
                if from_file:
                    raise
                self._copy.remove()
            else:
                with contextlib.closing(opened):
                    usable_schema(self.paths.database, opened, schema_number())
                return

    def _is_stale(self) -> bool:
        """True if the snapshot is gone or much older than the file."""
        return _age(self.paths.snapshot) - _age(self.paths.database) > _STALE_SNAPSHOT_SECONDS

    def _explained(self, error: OSError | StoreError) -> StoreError:
        """The copy's error, naming the database and the folder for copies."""
        if isinstance(error, OSError):
            place = f"{tempfile.gettempdir()} (TMPDIR names another folder)"
            return StoreError(f"{self.paths.database} cannot be copied to {place}: {error.strerror or error}")
        return type(error)(str(error).replace(str(self._copy.database), str(self.paths.database)))


def _refuse_writing(sql: str) -> None:
    """Accept one statement that reads.

    Raises:
        duckdb.Error: it cannot be parsed.
        StoreError: no statement, several, or one that does anything else.
    """
    import duckdb

    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"the statement is not UTF-8 text: {error.reason} at character {error.start + 1}") from error
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise StoreError(f"one statement at a time: here are {len(statements)}")
    kind = statements[0].type
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise StoreError(
            f"this database is only read: {kind.name} is refused. "
            "SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN are allowed"
        )


def _sql_error(error: Exception, sql: str) -> StoreError:
    text = str(error).split("\nLINE ")[0]
    text = " ".join(text.split())
    if "disabled by configuration" in text or "configuration has been locked" in text:
        return StoreError(f"a query reads this database and nothing else, and changes no setting: {text}")
    if text.startswith("Parser Error") and (word := re.search(r'(?<!")\b(at|offset)\b', sql, re.IGNORECASE)):
        text += f'; if a column is meant, write it with quotes: "{word[1]}"'
    return StoreError(f"the query failed: {text}")


def _table(connection: DuckDBPyConnection, sql: str, params: Any, most: int | None = None) -> QueryResult:
    # An empty list of parameters is not the same as none: it has DuckDB prepare the statement.
    connection.execute(sql, params) if params else connection.execute(sql)
    described = connection.description or []
    rows: list[tuple[Any, ...]] = []
    held = 0
    while chunk := connection.fetchmany(_ROWS_AT_ONCE):
        rows.extend(chunk)
        if most is not None:
            held += sum(len(value) for row in chunk for value in row if isinstance(value, str | bytes))
            if len(rows) > most or held > MOST_BYTES:
                size = f"{most:,} rows" if len(rows) > most else f"{MOST_BYTES >> 20} MB of text"
                raise StoreError(f"the answer has more than {size}; say LIMIT, or 'harness export --to parquet DIR'")
    return QueryResult([column[0] for column in described], [str(column[1]) for column in described], rows)


def _arrow(connection: DuckDBPyConnection, sql: str, params: Any) -> pa.Table:
    return connection.sql(sql, params=params or None).to_arrow_table()


def _frame(connection: DuckDBPyConnection, sql: str, params: Any) -> pd.DataFrame:
    return connection.sql(sql, params=params or None).df()


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
