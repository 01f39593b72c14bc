"""Lines of the event log: numbered and with a checksum when written, verified whenever read.

A line ends with its number in the log segment and a checksum over everything before: ``…,"n":12,"sum":"…"}``. A
flipped byte does not pass, wherever it falls, and a line that is gone leaves a gap in the numbers. Log segments say by
their name that their lines have checksums; those of earlier versions are read as they are.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

_CHUNK = 1 << 20
_SEAL = re.compile(rb',"n":(\d{1,12}),"sum":"([0-9a-f]{16})"\}$')
_TAIL = 50  # bytes in which a checksum has room


LineContent = dict[str, Any]
"""The JSON object of an event, with its kind."""


@dataclass(frozen=True)
class LogLine:
    """One line of a log segment.

    Attributes:
        end: the offset after it.
        content: what it holds; None if it cannot be read, or is not what was written.
        damage: why there is no content.
        missing: how many lines before it are gone.
        number: its place in the log segment, from 0; None before lines were numbered.
    """

    end: int
    content: LineContent | None
    damage: str = ""
    missing: int = 0
    number: int | None = None


def sealed(line: bytes, number: int) -> bytes:
    """A line of JSON (an object, with its newline) with its number and its checksum."""
    body = line[:-2] + b',"n":%d' % number
    return body + b',"sum":"%s"}\n' % _checksum(body)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=8).hexdigest().encode()


def read_lines(file: BufferedReader | gzip.GzipFile, offset: int, *, seals: bool) -> Iterator[LogLine]:
    """Whole lines of a file that stands at ``offset``; ``seals``: its lines have checksums."""
    rest = b""
    expected = 0 if offset == 0 else None
    while chunk := file.read1(_CHUNK):  # what precedes the damage of an archive is still given
        *parts, rest = (rest + chunk).split(b"\n")
        for part in parts:
            offset += len(part) + 1
            line = _sealed_line(part, offset) if seals else LogLine(offset, *_content(part))
            if line.number is not None and expected is not None and line.number > expected:
                line = LogLine(line.end, line.content, line.damage, line.number - expected, line.number)
            if line.number is not None:
                expected = line.number + 1
            elif expected is not None:
                expected += 1
            yield line
    if seals and (seal := _SEAL.search(rest[:-1], max(0, len(rest) - _TAIL))) and _fits(rest, seal):
        yield LogLine(offset + len(rest), None, "the end of its line is damaged")


def _sealed_line(part: bytes, end: int) -> LogLine:
    seal = _SEAL.search(part, max(0, len(part) - _TAIL))
    if seal is None:
        return LogLine(end, None, "it has no checksum")
    if not _fits(part, seal):
        return LogLine(end, None, "its checksum does not fit")
    content, damage = _content(part)
    if content is not None:
        del content["n"], content["sum"]
    return LogLine(end, content, damage, number=int(seal.group(1)))


def _fits(part: bytes, seal: re.Match[bytes]) -> bool:
    return _checksum(part[: seal.end(1)]) == seal.group(2)


def _content(part: bytes) -> tuple[LineContent | None, str]:
    try:
        content = json.loads(part)
    except (ValueError, RecursionError):
        return None, "it is not JSON"
    if isinstance(content, dict) and isinstance(content.get("kind"), str):
        return content, ""
    return None, "it is not an event"
