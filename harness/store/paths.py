"""Where the files of one database lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StorePaths:
    """The database file and what stands beside it; every name is derived from the database's."""

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
        """Folder of the segments, the record itself."""
        return self._beside(".journal")

    @property
    def snapshot(self) -> Path:
        """A whole copy of the database, renamed into place by owners."""
        return self._beside(".snapshot")

    @property
    def lock(self) -> Path:
        """Held by whoever of ours has the database open."""
        return self._beside(".lock")

    @property
    def turnstile(self) -> Path:
        """Held by a writer from the moment it waits, so that readers let it pass."""
        return self._beside(".lock-wait")

    @property
    def artifacts(self) -> Path:
        """Folder of the trials' folders."""
        return (self.database.parent / "artifacts").resolve()

    def remove(self) -> None:
        """Remove the file and its write-ahead log, if they are there."""
        self.database.unlink(missing_ok=True)
        self.wal.unlink(missing_ok=True)


def default_database() -> Path:
    """``HARNESS_DB``, else ``results/harness.duckdb`` below the current folder."""
    return Path(os.environ.get("HARNESS_DB") or "results/harness.duckdb")
