"""Checksums of files, folders and plain data; a file is read again only when its size or time of change differs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.data.roots import cache_root
from harness.trial.files import replacing

CHUNK = 2**20


def checksum(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


@cache
def identity_of_path(path: Path, contents: bool = True) -> str:
    """sha256 of a file, or of a folder's manifest: relative path, size and, with ``contents``, checksum of each file.

    Checksums are kept in the cache folder by path, size and time of change, so that a large folder is read once.
    """
    if not path.exists():
        return "missing"
    known = _Known()
    if path.is_file():
        found = known.checksum(path)
    else:
        lines = [
            f"{file.relative_to(path).as_posix()} {file.stat().st_size} {known.checksum(file) if contents else ''}"
            for file in _files(path)
        ]
        found = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    known.save()
    return found


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            yield Path(root) / name


class _Known:
    """Checksums of files by (path, size, time of change)."""

    def __init__(self) -> None:
        self._file = cache_root() / "checksums.json"
        self._changed = False
        try:
            self._sums: dict[str, list[object]] = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._sums = {}

    def checksum(self, path: Path) -> str:
        """The file's sha256."""
        state = path.stat()
        key, stamp = str(path.resolve()), [state.st_size, state.st_mtime_ns]
        found = self._sums.get(key)
        if found is not None and found[:2] == stamp:
            return str(found[2])
        made = checksum(path)
        self._sums[key] = [*stamp, made]
        self._changed = True
        return made

    def save(self) -> None:
        """Write the cache; where it cannot be written, the next process reads the files again."""
        if self._changed:
            with contextlib.suppress(OSError), replacing(self._file) as part:
                part.write_text(json.dumps(self._sums), encoding="utf-8")


def canonical(value: Any) -> str:
    """JSON with sorted keys and the shortest form of every number: one text for one content."""
    return json.dumps(_number(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=True)


def _number(value: Any) -> Any:
    """1 and 1.0 are one hyper-parameter value; a tuple and a list are one list."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _number(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_number(item) for item in value]
    return value


def sha256_of(value: Any) -> str:
    """sha256 of the canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
