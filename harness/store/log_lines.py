"""Lines of the event log: JSON, numbered and with a checksum when written, verified whenever read.

A line ends with its number in the log segment and a checksum over everything before: ``…,"n":12,"sum":"…"}``. A
flipped byte does not pass, wherever it falls, and a line that is gone leaves a gap in the numbers. Log segments say by
their name that their lines have checksums; those of earlier versions are read as they are. Words replace the numbers
that JSON lacks.
"""

import gzip
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from typing import Any

from harness.store.errors import StoreError

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


def utc_now() -> str:
    """This moment as the event log writes it, in UTC with microseconds."""
    return _iso(datetime.now(UTC))


def stamp() -> str:
    """This moment, for the name of a file."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def encode(value: Any) -> bytes:
    """One line of JSON for an event or a part of one; NaN and infinities become the strings NaN, Infinity, -Infinity.

    Half a surrogate pair, which no file and no table takes, becomes a question mark.

    Raises:
        StoreError: a value that JSON has no form for.
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        # Rare, so the walk over every value is paid only when there is something to replace.
        text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"), default=_plain)
    except TypeError as error:
        kind = f"a {value['kind']!r} event" if isinstance(value, dict) and "kind" in value else "a value"
        raise StoreError(f"{kind} cannot be written as JSON: {error}") from error
    if "\\ud" in text:  # an emoji, or half of a pair
        whole = json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
        text = json.dumps(json.loads(whole), separators=(",", ":"))
    return text.encode() + b"\n"


def _plain(value: Any) -> Any:
    """JSON form of what numpy, pathlib and datetime hand over."""
    if isinstance(value, datetime):
        return _iso(value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, torch tensors
        return _finite(value.tolist())
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def restored(value: Any) -> Any:
    """Plain data of the store with NaN and infinities as numbers."""
    return _changed(value, lambda item: float(item) if item in ("NaN", "Infinity", "-Infinity") else item)


def _finite(value: Any) -> Any:
    return _changed(value, _word)


def _word(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """Nested data with its innermost values changed."""
    if isinstance(value, Mapping):
        return {key: _changed(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_changed(item, change) for item in value]
    return change(value)
