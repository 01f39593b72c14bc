"""Rebuild the database from its event log, and compare the two."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import first_line
from harness.store.connections import copy_current, take_snapshot, writing
from harness.store.errors import StoreError
from harness.store.event_log import LogSegment, segments
from harness.store.ingest import counters, ingest, refused_events
from harness.store.locking import copy_database, keeping_out
from harness.store.log_lines import stamp
from harness.store.paths import StorePaths
from harness.store.queries import IS_FINAL
from harness.store.rows import STORED, TABLES
from harness.store.schema import connect, open_for_writing, schema_number, schema_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LISTED = 20
"""Damaged lines of a log segment that are listed singly."""
_FINISHED = f"SELECT trial_id FROM trials WHERE {IS_FINAL}"


@dataclass(frozen=True)
class StoreProblem:
    """A problem of a store; ``kind`` is one of the words used below."""

    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True)
class Rebuilt:
    """Result of a rebuild: rows of each table, the old file's place, and problems of the event log."""

    rows: dict[str, int]
    finished: int
    backup: Path | None
    problems: list[StoreProblem] = field(default_factory=list)


def rebuild(database: str | os.PathLike[str], *, force: bool = False) -> Rebuilt:
    """Rebuild the database from archived and live log segments; the old file is kept as a backup.

    Living writers go on meanwhile: they wait for the lock and continue with the new file.

    Args:
        database: path of the file, which may be damaged or gone.
        force: put the new file in place although the old one knows finished trials that the event log lacks.

    Raises:
        StoreError: there is no event log, it lacks finished trials that the old file still shows, or one of the two is
            of a newer version.
        StoreHeldError: a foreign process has the file open.
    """
    paths = StorePaths.of(database)
    paths.check()
    stored = segments(paths.journal)
    if not stored:
        raise StoreError(f"there is no event log in {paths.journal}: nothing to make {paths.database} from")
    problems = _damages(stored)
    fresh = StorePaths.of(paths.database.with_name(f"{paths.database.name}.rebuild-{os.getpid()}"))
    try:
        with writing(paths, timeout=30.0):
            # a foreign process would go on writing into what is about to become the backup
            with contextlib.suppress(FileNotFoundError), keeping_out(paths.database, fcntl.LOCK_EX):
                pass
            fresh.remove()
            with open_for_writing(fresh) as connection:
                ingest(connection, paths.journal)
                counts = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in TABLES)
                rows = dict(connection.execute(counts).fetchall())
                finished = {trial_id for (trial_id,) in connection.execute(_FINISHED).fetchall()}
            if not force and (lost := _finished_in(paths) - finished):
                raise StoreError(
                    f"{paths.database} shows {len(lost)} finished trials that its event log lacks "
                    f"(log segments were removed?); they would be lost, so nothing was changed. --force does it anyway"
                )
            backup = _set_aside(paths)
            fresh.database.replace(paths.database)
        take_snapshot(paths)
    finally:
        with contextlib.suppress(OSError):  # of a folder that cannot be written; the reason is reported
            fresh.remove()
    return Rebuilt(rows, len(finished), backup, problems)


def _finished_in(paths: StorePaths) -> set[str]:
    """Finished trials of the old file, as far as it is readable; raises where a newer version wrote it."""
    import duckdb

    if not paths.database.exists():
        return set()
    with tempfile.TemporaryDirectory(prefix="harness-rebuild-") as folder:
        copy = Path(folder) / "old.duckdb"
        copy_database(paths, copy)
        try:
            with contextlib.closing(connect(copy, read_only=True)) as connection:
                newer = (schema_of(connection) or 0) > schema_number()
                finished = {trial_id for (trial_id,) in connection.execute(_FINISHED).fetchall()}
        except (StoreError, duckdb.Error):
            return set()
    if newer:
        raise StoreError(
            f"a newer version of harness wrote {paths.database}, and this one would make an older file of "
            f"it; nothing was changed. Upgrade harness, or --force does it anyway"
        )
    return finished


def _set_aside(paths: StorePaths) -> Path | None:
    """Keep the old file under another name; at every moment there is a database."""
    if not paths.database.exists():
        return None
    backup = paths.database.with_name(f"{paths.database.name}.backup-rebuild-{stamp()}")
    try:
        os.link(paths.database, backup)
    except OSError:  # a file system without hard links
        shutil.copyfile(paths.database, backup)
    if paths.wal.exists():
        paths.wal.replace(backup.with_name(backup.name + ".wal"))
    return backup


def check(database: str | os.PathLike[str]) -> list[StoreProblem]:
    """Problems of a database and its event log; an empty list if there are none.

    The file is copied and the copy examined, so that nobody waits. The event log is read whole and ingested
    into a new database, which is then compared.

    Raises:
        StoreError: the database does not exist, or a foreign process holds it.
    """
    paths = StorePaths.of(database)
    paths.check()
    if not paths.database.is_file():
        raise StoreError(f"there is no database at {paths.database}; name another with --db or HARNESS_DB")
    problems = _damages(segments(paths.journal))
    with tempfile.TemporaryDirectory(prefix="harness-check-", ignore_cleanup_errors=True) as folder:
        copy = StorePaths.of(Path(folder) / "copy.duckdb")
        copy_current(paths, copy.database, timeout=5.0)
        try:
            problems += _check_copy(paths, copy, StorePaths.of(Path(folder) / "fresh.duckdb"))
        except StoreError as error:
            text = str(error).replace(str(copy.database), str(paths.database))
            problems.append(StoreProblem("schema" if "schema" in text else "file", text))
    return problems


def _check_copy(paths: StorePaths, copy: StorePaths, fresh: StorePaths) -> list[StoreProblem]:
    import duckdb

    try:
        with open_for_writing(copy) as connection:
            problems = _check_counters(connection, paths)
            _ingest_alike(connection, paths.journal, fresh)
            problems += _check_refused(connection)
            problems += _compare(connection, fresh)
            return problems
    except duckdb.Error as error:
        return [StoreProblem("file", f"{paths.database} cannot be read through: {first_line(error)}")]


def _ingest_alike(connection: DuckDBPyConnection, journal: Path, fresh: StorePaths) -> None:
    """Ingest the same events into the copy and a new database."""
    for _ in range(10):
        with open_for_writing(fresh) as other:
            ingest(other, journal)
            ingest(connection, journal)
            read = counters(other)
        at_start = {segment.name for segment in segments(journal)}
        if {name: end for name, end in counters(connection).items() if name in at_start} == read:
            return


def _check_counters(connection: DuckDBPyConnection, paths: StorePaths) -> list[StoreProblem]:
    present = {segment.name: segment for segment in segments(paths.journal)}
    problems = []
    for name, end in counters(connection).items():
        if name not in present:
            problems.append(
                StoreProblem("journal", f"log segment {name} is ingested but gone: a rebuild would lack it")
            )
        elif present[name].behind(end) is False and _length(present[name]) < end:
            problems.append(StoreProblem("journal", f"log segment {name} is shorter than what was ingested from it"))
    return problems


def _length(segment: LogSegment) -> int:
    """End of the last whole line."""
    end = 0
    with contextlib.suppress(StoreError):
        for line in segment.lines():
            end = line.end
    return end


def _damages(stored: list[LogSegment]) -> list[StoreProblem]:
    """Problems of log segments. A torn last line of a plain one is none: its writer never got an answer."""
    problems = []
    for segment in stored:
        texts: list[str] = []
        try:
            for place, line in enumerate(segment.lines(strict=True), 1):
                if line.missing:
                    texts.append(f"{line.missing} lines are missing before line {place}")
                if line.content is None:
                    texts.append(f"line {place} is not ingested, {line.damage}")
        except (StoreError, EOFError) as error:
            texts.append(f"cannot be read to its end: {error}")
        shown = texts[:LISTED] + ([f"and {len(texts) - LISTED} more"] if len(texts) > LISTED else [])
        problems += [StoreProblem("journal", f"log segment {segment.name}: {text}") for text in shown]
    return problems


_COMPARED = {
    "trials": "SELECT trial_id, status, deleted_at FROM {}",
    **dict.fromkeys(("results", "metrics", "claims", "run_trials", "tags"), "FROM {}"),
}
"""Where rows are compared, not only counted. Which of two equal outcomes came first may differ."""


def _check_refused(connection: DuckDBPyConnection) -> list[StoreProblem]:
    """Events that the tables did not take; damaged lines are reported with their log segment."""
    refused = refused_events(connection, kinds=("rejected",))
    shown = refused[:LISTED] + ([f"and {len(refused) - LISTED} more"] if len(refused) > LISTED else [])
    return [StoreProblem("journal", f"an event was set aside: {text}") for text in shown]


def _compare(connection: DuckDBPyConnection, fresh: StorePaths) -> list[StoreProblem]:
    problems = []
    path = str(fresh.database).replace("'", "''")
    connection.execute(f"ATTACH '{path}' AS rebuilt (READ_ONLY)")
    for table in sorted(TABLES.keys() - {"ingested", "progress"}):
        stored = STORED.get(table, table)
        sql = f"SELECT (SELECT count(*) FROM {stored}), (SELECT count(*) FROM rebuilt.{stored})"
        ((here, there),) = connection.execute(sql).fetchall()
        if here != there:
            problems.append(StoreProblem("counts", f"{table} has {here} rows and the event log makes {there}"))
        elif table in _COMPARED:
            rows = [_COMPARED[table].format(name) for name in (stored, f"rebuilt.{stored}")]
            sql = f"SELECT count(*) FROM (({rows[0]}) EXCEPT ALL ({rows[1]}))"
            ((count,),) = connection.execute(sql).fetchall()
            if count:
                problems.append(StoreProblem("counts", f"{count} rows of {table} differ from what the event log makes"))
    return problems
