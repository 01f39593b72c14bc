"""Opening the database file: created, migrated, or refused with a message that says what to do.

Every function here that opens ``paths.database`` expects its caller to hold the lock (``locking``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.store.errors import StoreDamagedError, StoreDiskError, StoreError, StoreHeldError
from harness.store.event_log import sync_folder
from harness.store.locking import copy_database, held_here, holder_in
from harness.store.log_lines import stamp
from harness.store.paths import StorePaths
from harness.store.rows import Migration, migrations

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Config = dict[str, str]

WRITER: Config = {"threads": "1"}
"""Ingesting is cheap, and the cores belong to the trials."""

NO_EXTENSIONS: Config = {"autoload_known_extensions": "false", "autoinstall_known_extensions": "false"}
"""On every connection: a file that looks like another program's must not bring code from the network."""
SANDBOX: Config = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "memory_limit": "2GB",
    "max_temp_directory_size": "2GB",
    "lock_configuration": "true",
}
"""Settings for a person's SQL: no file but the database, no Python variable, no way to change that."""


_REFUSALS = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS)
_OF_THE_DISK = re.compile("|".join((*map(os.strerror, _REFUSALS), "not enough (?:disk )?space")), re.IGNORECASE)
"""Messages of the system, and DuckDB after it, for a disk that takes no more."""
ROOM = "free space there, or raise the limit on the size of files (ulimit -f), and give the same command again"


def schema_number() -> int:
    """The schema this program writes."""
    return migrations()[-1].number


def connect(path: Path, *, read_only: bool = False, config: Config | None = None) -> DuckDBPyConnection:
    """Open a DuckDB file, and classify DuckDB's errors.

    Raises:
        StoreHeldError: a process that does not take part in our locks has it open.
        StoreDamagedError: DuckDB cannot make sense of the file or of its write-ahead log.
        StoreError: anything else: no permission, not a database, a newer DuckDB.
    """
    import duckdb

    try:
        return duckdb.connect(str(path), read_only=read_only, config={**NO_EXTENSIONS, **(config or {})})
    except duckdb.ConnectionException as error:
        raise held_here(path) from error
    except duckdb.IOException as error:
        raise _io_error(path, str(error)) from error
    except duckdb.Error as error:
        raise _broken(path, str(error)) from error


def _io_error(path: Path, text: str) -> StoreError:
    if "Could not set lock" in text:
        holder = holder_in(text) or "another process"
        return StoreHeldError(f"{path} is held by {holder}", holder)
    if "version number" in text:
        return StoreError(f"{path} was written by a newer DuckDB than the installed one: {_first(text)}")
    if "not a valid DuckDB" in text:
        return StoreError(f"{path} is not a DuckDB database; name another with --db or HARNESS_DB")
    if _OF_THE_DISK.search(text) or re.search(r"corrupt|checksum|WAL", text, re.IGNORECASE):
        return _broken(path, text)
    return StoreError(f"{path} cannot be opened: {_first(text)}")


@contextlib.contextmanager
def _telling_damage(path: Path) -> Iterator[None]:
    """Turn DuckDB's error about an unreadable file into a mending message.

    Raises:
        StoreDiskError: the disk is full, say.
        StoreDamagedError: an internal, fatal or serialization error, a transaction that one of them has ended, or a
            block whose checksum does not fit.
    """
    import duckdb

    broken = (
        duckdb.InternalException,
        duckdb.FatalException,
        duckdb.SerializationException,
        duckdb.TransactionException,
    )
    try:
        yield
    except duckdb.Error as error:
        text = str(error)
        if isinstance(error, broken) or _OF_THE_DISK.search(text) or re.search(r"corrupt|checksum", text, re.I):
            raise _broken(path, text) from error
        raise


def is_damage(error: Exception) -> bool:
    """True if DuckDB could not read a block of the file; False for a statement's errors."""
    import duckdb

    kinds = (duckdb.IOException, duckdb.FatalException, duckdb.SerializationException, duckdb.InternalException)
    # A wrong checksum comes as the bare class; a statement's errors have subclasses.
    of_the_file = type(error) is duckdb.Error or isinstance(error, kinds)
    return of_the_file and re.search(r"corrupt|checksum|deserializ", str(error), re.IGNORECASE) is not None


@contextlib.contextmanager
def telling_blocks(path: Path) -> Iterator[None]:
    """Turn an unreadable block into the way to mend the file.

    Raises:
        StoreDamagedError: there is one.
    """
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if is_damage(error):
            raise _broken(path, str(error)) from error
        raise


def _broken(path: Path, text: str) -> StoreError:
    """A file that cannot be written is as whole as it was; one that cannot be read is rebuilt."""
    if _OF_THE_DISK.search(text):
        message = f"{path} cannot be written: {_first(text)}; what had finished is in the event log"
        return StoreDiskError(f"{message}; {ROOM}")
    return StoreDamagedError(
        f"{path} is damaged ({_first(text)}); nothing is lost: "
        f"`harness db rebuild --db {path}` rebuilds it from the event log"
    )


def _first(text: str) -> str:
    return text.strip().splitlines()[0][:300] if text.strip() else "no reason given"


def schema_of(connection: DuckDBPyConnection) -> int | None:
    """The number of the schema in a file: 0 for an empty one, None for another program's database."""
    import duckdb

    try:
        ((number,),) = connection.execute("SELECT max(version) FROM schema_version").fetchall()
    except duckdb.CatalogException:
        ((tables,),) = connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall()
        return None if tables else 0
    return 0 if number is None else int(number)


def usable_schema(path: Path, connection: DuckDBPyConnection, newest: int) -> int:
    """The number of the schema in ``path``, if not above ``newest``.

    Raises:
        StoreError: the file is another program's, or a newer version's.
    """
    number = schema_of(connection)
    if number is None:
        raise StoreError(f"{path} is a DuckDB database, but not one of harness; name another with --db or HARNESS_DB")
    if number > newest:
        raise StoreError(
            f"{path} has schema {number} and this harness knows schemas up to {newest}: "
            "a newer version wrote it. Upgrade harness, or name another database with --db or HARNESS_DB"
        )
    return number


@contextlib.contextmanager
def open_for_writing(paths: StorePaths, steps: Sequence[Migration] | None = None) -> Iterator[DuckDBPyConnection]:
    """The database at the newest schema, created or migrated first; a checkpoint empties the WAL at the end.

    Before a migration the file is copied to ``<db>.backup-schema<N>-<time>``; each step is one transaction.

    Raises:
        StoreError: see :func:`connect` and :func:`usable_schema`.
    """
    steps = migrations() if steps is None else tuple(steps)
    if not paths.database.exists():
        _create(paths, steps)
    connection = connect(paths.database, config=WRITER)
    with contextlib.ExitStack() as after, _telling_damage(paths.database):
        after.callback(lambda: connection.close())
        number = usable_schema(paths.database, connection, steps[-1].number)
        if number < steps[-1].number:
            if number > 0:
                connection.close()  # never copy the file while this process has it open
                backup = f"{paths.database.name}.backup-schema{number}-{stamp()}"
                copy_database(paths, paths.database.with_name(backup))
                connection = connect(paths.database, config=WRITER)
            migrate(connection, steps)
        yield connection


def migrate(connection: DuckDBPyConnection, steps: Sequence[Migration]) -> None:
    """Apply the steps that a database lacks, each in one transaction; to an empty file all in one.

    Raises:
        StoreError: a step failed; the database is as before that step.
    """
    import duckdb

    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version"
        " (version INTEGER NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)"
    )
    current = schema_of(connection) or 0
    missing = [step for step in steps if step.number > current]
    for batch in [[step] for step in missing] if current else [missing]:
        connection.execute("BEGIN")
        for step in batch:
            try:
                connection.execute(step.sql)
                now = datetime.now(UTC).replace(tzinfo=None)
                connection.execute("INSERT INTO schema_version VALUES (?, ?, ?)", [step.number, step.name, now])
                if step is batch[-1]:
                    connection.execute("COMMIT")
            except duckdb.Error as error:
                with contextlib.suppress(duckdb.Error):
                    connection.execute("ROLLBACK")
                message = f"migration {step.number} ({step.name}) failed and was undone: {_first(str(error))}"
                kind = StoreDiskError if _OF_THE_DISK.search(str(error)) else StoreError
                raise kind(message) from error


def _create(paths: StorePaths, steps: Sequence[Migration]) -> None:
    """Make the file under another name first: a process killed half-way must not leave half a database."""
    paths.database.parent.mkdir(parents=True, exist_ok=True)
    if paths.wal.exists():  # of a file that is gone; replaying it into the new one would mix the two
        paths.wal.replace(paths.wal.with_name(f"{paths.wal.name}.stray-{stamp()}"))
    fresh = StorePaths(paths.database.with_name(f"{paths.database.name}.new-{os.getpid()}"))
    fresh.remove()
    try:
        with contextlib.closing(connect(fresh.database, config=WRITER)) as connection:
            migrate(connection, steps)
        fresh.database.replace(paths.database)
    except BaseException:
        fresh.remove()  # on a full disk it takes the space that is missing
        raise
    sync_folder(paths.database.parent)
