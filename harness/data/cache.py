"""The cache on disk: plain values under a checksum of their inputs.

SQLite rather than a cache library: joblib and diskcache write pickles, and joblib takes 0.25 s to import.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.data.roots import cache_root

FILE = "cache.sqlite"
_TABLE = "CREATE TABLE IF NOT EXISTS cache (kind TEXT, key TEXT, value TEXT, PRIMARY KEY (kind, key))"
_GET = "SELECT value FROM cache WHERE kind = ? AND key = ?"
_PUT = "INSERT OR REPLACE INTO cache VALUES (?, ?, ?)"
_TRIM = """DELETE FROM cache WHERE kind = ?1 AND rowid NOT IN
(SELECT rowid FROM cache WHERE kind = ?1 ORDER BY rowid DESC LIMIT ?2)"""


class DiskCache:
    """Values of one kind (plain data) by key; without a writable folder, in memory only.

    Args:
        kind: of the values.
        version: how they are computed; values of another version are never met under ``key``.
        most: of more values than these the oldest are dropped.
    """

    def __init__(self, kind: str, version: str = "", most: int = 2000) -> None:
        self._kind, self._version, self._most = kind, version, most
        self._values: dict[str, Any] = {}
        self._unsaved: set[str] = set()

    def key(self, content: bytes) -> str:
        """The key of the value computed from ``content``."""
        return hashlib.sha256(self._version.encode() + b"\0" + content).hexdigest()

    def get(self, key: str) -> Any | None:
        """The value, or None."""
        if key not in self._values:
            with contextlib.suppress(OSError, sqlite3.Error, ValueError):
                for (text,) in _connection().execute(_GET, (self._kind, _encodable(key))):
                    self._values[key] = json.loads(text)
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a value; it is written with the next ``save``."""
        self._values[key] = value
        self._unsaved.add(key)

    def save(self) -> None:
        """Write what is new, in one transaction."""
        if not self._unsaved:
            return
        rows = [(self._kind, _encodable(key), json.dumps(self._values[key])) for key in self._unsaved]
        self._unsaved.clear()
        try:  # a folder that cannot be written, or a file locked for long: the next process computes again
            with _connection() as connection:
                connection.executemany(_PUT, rows)
                connection.execute(_TRIM, (self._kind, self._most))
        except (OSError, sqlite3.OperationalError):
            return
        except sqlite3.DatabaseError:  # damaged: create it again
            with contextlib.suppress(OSError):
                (cache_root() / FILE).unlink()


def _encodable(key: str) -> str:
    """A key as SQLite takes it: names of files need not be UTF-8."""
    is_text = not any("\ud800" <= letter <= "\udfff" for letter in key)
    return key if is_text else key.encode("utf-8", "surrogateescape").hex()


def _connection() -> sqlite3.Connection:
    """This thread's connection; one that a fork inherited is not used."""
    return _opened(cache_root() / FILE, os.getpid(), threading.get_ident())


@lru_cache(maxsize=4)
def _opened(file: Path, process: int, thread: int) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file, timeout=1.0)
    connection.execute("PRAGMA synchronous = OFF")  # what a power cut loses is computed again
    connection.execute(_TABLE)
    return connection
