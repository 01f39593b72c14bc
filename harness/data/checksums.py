"""Checksums of files, folders and plain data; a file is read again only when its state differs (``state_of``)."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.data.cache import DiskCache
from harness.errors import HarnessError

CHUNK = 2**20
_NO_DATA = (("/",), ("/", "proc"), ("/", "sys"), ("/", "dev"))
"""Folders without an end."""


def checksum(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def identity_of_path(path: Path, contents: bool = True) -> str:
    """sha256 of a file or of a folder's manifest.

    A line of it has a file's relative path, size and, with ``contents``, checksum. Checksums are cached by path and
    state, so that a large folder is read once.

    Raises:
        HarnessError: it is neither a file nor a folder of yours, or cannot be read.
    """
    try:
        return _identity(path, contents)
    except OSError as error:
        raise HarnessError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def _identity(path: Path, contents: bool) -> str:
    if not path.exists():
        return "missing"
    if path.is_file():
        identity = _checksum_once(path)
    elif not path.is_dir() or path.resolve().parts[:2] in _NO_DATA:
        raise HarnessError(f"{path} is not data: a folder or a file of yours is expected")
    else:
        lines = [
            f"{file.relative_to(path).as_posix()} {file.stat().st_size} {_checksum_once(file) if contents else ''}"
            for file in _files(path)
        ]
        identity = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    _KNOWN.save()
    return identity


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            file = Path(root) / name
            if file.is_file():  # not a link to nowhere, a pipe or a device: reading it could hang
                yield file


_KNOWN = DiskCache("checksums", most=5_000_000)


_SETTLED = 2 * 10**9
"""Nanoseconds after which another change of a file has another time: clocks of file systems are coarse."""


def state_of(path: Path) -> list[int]:
    """Size, change times of file and inode, and the inode's number.

    A program can set the file's time back, but not the inode's.
    """
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _checksum_once(path: Path) -> str:
    """The file's sha256, from the cache where its state is unchanged.

    A file that changed a moment ago is not cached: it could change again without another time.
    """
    key, began, state = str(path.resolve()), time.time_ns(), state_of(path)
    existing = _KNOWN.get(key)
    if existing is not None and existing[:-1] == state:
        return str(existing[-1])
    result = checksum(path)
    if began - max(state[1:3]) > _SETTLED and state_of(path) == state:
        _KNOWN.put(key, [*state, result])
    return result


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
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()
