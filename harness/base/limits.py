"""Limits on what compressed files may unpack to."""

import gzip
from pathlib import Path

from harness.errors import HarnessError

_ROOM = 64 << 20
_RATIO = 100
"""Bytes that any file may unpack to, and how many times its size more: real data compress less."""


def room_for(packed: int) -> int:
    """The most bytes that a file of ``packed`` bytes may unpack to."""
    return _ROOM + _RATIO * packed


def too_large(name: str, packed: int) -> HarnessError:
    """The error for a file that unpacks to more than :func:`room_for` allows."""
    return HarnessError(
        f"{name} unpacks to more than {_RATIO} times its {packed} bytes, as decompression bombs do; extract the file "
        f"yourself if you trust it"
    )


def content_of(path: Path) -> bytes:
    """A file's content, unpacked where its name ends in ``.gz``.

    Raises:
        OSError, EOFError, zlib.error: it cannot be read, or is damaged.
        HarnessError: it is not a regular file, or unpacks to more than the limit.
    """
    if not path.is_file():
        raise HarnessError(f"{path} is not a file")
    if path.suffix.lower() != ".gz":
        return path.read_bytes()
    packed = path.stat().st_size
    with gzip.open(path) as file:
        content = file.read(room_for(packed) + 1)
    if len(content) > room_for(packed):
        raise too_large(str(path), packed)
    return content
