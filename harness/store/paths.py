"""File names of one database."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from harness.store.errors import StoreError

_MAGIC = b"DUCK"
_MAGIC_PLACE = 8


@dataclass(frozen=True)
class StorePaths:
    """The database file and the files beside it; every name is derived from the database's."""

    database: Path

    @classmethod
    def of(cls, database: str | os.PathLike[str] | StorePaths) -> StorePaths:
        """Paths of a database; the folder's links are resolved so that two spellings share one lock."""
        if isinstance(database, StorePaths):
            return database
        path = Path(database).expanduser()
        return cls(path.parent.resolve() / path.name)

    def _beside(self, suffix: str) -> Path:
        return self.database.with_name(self.database.name + suffix)

    @property
    def wal(self) -> Path:
        """DuckDB's own write-ahead log."""
        return self._beside(".wal")

    @property
    def journal(self) -> Path:
        """Folder of the log segments, the record itself."""
        return self._beside(".journal")

    @property
    def snapshot(self) -> Path:
        """A whole copy of the database, renamed into place by writers."""
        return self._beside(".snapshot")

    @property
    def lock(self) -> Path:
        """Held by the one of our processes that has the database open."""
        return self._beside(".lock")

    @property
    def turnstile(self) -> Path:
        """Held by a waiting writer, so that readers let it pass."""
        return self._beside(".lock-wait")

    @property
    def sessions(self) -> Path:
        """Folder of what living commands tell each other: their processes, and the trials that they run."""
        return self._beside(".sessions")

    @property
    def artifacts(self) -> Path:
        return (self.database.parent / "artifacts").resolve()

    def check(self) -> None:
        """Refuse other files before anything is opened, locked or made beside them.

        A file that cannot be a database is refused if it has no event log; with one it can be rebuilt.

        Raises:
            StoreError: a name is taken by another kind of file, or the file is not a database, or its path is none
                that DuckDB can open.
        """
        try:
            str(self.database).encode()
        except UnicodeEncodeError:
            raise StoreError(
                f"{self.database}: the path of a database has to be UTF-8; name another with --db"
            ) from None
        for path in (self.database, self.wal, self.snapshot, self.lock, self.turnstile):
            kind = _kind(path)
            if kind is not None and kind != stat.S_IFREG:
                raise StoreError(f"{path} is not a regular file; name another database with --db")
        kind = _kind(self.journal)
        if kind is not None and kind != stat.S_IFDIR:
            raise StoreError(f"{self.journal} is not a folder, where the event log's folder belongs")
        if kind is None and (head := _head(self.database)) and head[_MAGIC_PLACE:] != _MAGIC:
            raise StoreError(f"{self.database} is not a DuckDB database; name another with --db")

    def remove(self) -> None:
        """Remove the file and its write-ahead log, if they are there."""
        self.database.unlink(missing_ok=True)
        self.wal.unlink(missing_ok=True)


def _kind(path: Path) -> int | None:
    """The kind of file at a path, links followed; None if there is none.

    Raises:
        StoreError: the path itself cannot be looked at: a loop of links, a name too long, no permission.
    """
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be a database: {getattr(error, 'strerror', None) or error}") from error


def _head(path: Path) -> bytes:
    """The first bytes of a file; empty where there are none, or they are not ours to read."""
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_PLACE + len(_MAGIC))
    except OSError:
        return b""


def default_database() -> Path:
    """``HARNESS_DB``, else ``results/harness.duckdb`` below the current folder."""
    return Path(os.environ.get("HARNESS_DB") or "results/harness.duckdb")
