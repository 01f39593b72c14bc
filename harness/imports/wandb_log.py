"""The log of a W&B run (``run-ID.wandb``), read without wandb.

A header, then blocks of 32 KiB with records as LevelDB's logs have them: checksum, length, kind (whole, first, middle,
last part), data. Each record is a protocol buffer's message. Sources: wandb/sdk/internal/datastore.py,
wandb/proto/wandb_internal.proto.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.base.values import flat
from harness.imports.foreign import logged_number

HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
BLOCK, HEAD = 32768, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
HISTORY, SUMMARY, CONFIG, RUN, EXIT = 2, 3, 4, 17, 18
"""Fields of a Record."""
KEY, NESTED, VALUE = 1, 2, 16
"""Fields of an item of history, summary or configuration."""
STEP = "_step"


@dataclass(slots=True)
class WandbLog:
    """The contents of a log.

    Attributes:
        history: value by step by name, as they were logged; of a step that was logged twice the last one.
        summary: the last value of each name.
        unread: names with other values than numbers.
        broken: why it was read only in part; empty where it was read to its end.
    """

    history: dict[str, dict[int, float]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    group: str = ""
    job_type: str = ""
    exit_code: int = 0
    unread: set[str] = field(default_factory=set)
    broken: str = ""


def read_log(file: Path) -> WandbLog:
    """Read a log as far as it goes.

    Raises:
        ValueError: it is not a log of W&B.
    """
    data = file.read_bytes()
    if not data.startswith(HEADER):
        raise ValueError("not a log of W&B, or of another version")
    log = WandbLog()
    try:
        for number, record in enumerate(_records(data)):
            _take(log, record, number)
    except (ValueError, IndexError, struct.error) as error:
        log.broken = str(error)
    return log


def _records(data: bytes) -> Iterator[bytes]:
    """The records, their parts joined.

    Raises:
        ValueError: a part is missing, cut off or damaged.
    """
    at, parts = len(HEADER), b""
    while at < len(data):
        room = BLOCK - at % BLOCK
        if room < HEAD:
            at += room  # the end of a block is filled with zeros
            continue
        if at + HEAD > len(data):
            raise ValueError("the last record is cut off")
        checksum, length, kind = struct.unpack_from("<IHB", data, at)
        part = data[at + HEAD : at + HEAD + length]
        if len(part) < length or kind not in (WHOLE, FIRST, MIDDLE, LAST):
            raise ValueError("the last record is cut off")
        if zlib.crc32(part, zlib.crc32(bytes([kind]))) != checksum:
            raise ValueError("a record has another checksum")
        at += HEAD + length
        parts = part if kind in (WHOLE, FIRST) else parts + part
        if kind in (WHOLE, LAST):
            yield parts


def _take(log: WandbLog, record: bytes, number: int) -> None:
    for kind, message in fields_of(record):
        if not isinstance(message, bytes):
            continue
        if kind == HISTORY:
            _history(log, message, number)
        elif kind == SUMMARY:
            log.summary |= dict(flat(_items(message)))
        elif kind == CONFIG:
            log.config |= _config(message)
        elif kind == RUN:
            texts = {
                tag: value.decode("utf-8", "replace")
                for tag, value in fields_of(message)
                if isinstance(value, bytes) and tag in (6, 7, 8)
            }
            log.group, log.job_type, log.name = (texts.get(tag, "") for tag in (6, 7, 8))
            for tag, value in fields_of(message):
                if tag == 4 and isinstance(value, bytes):
                    log.config |= _config(value)
        elif kind == EXIT:
            codes = [value for tag, value in fields_of(message) if tag == 1 and isinstance(value, int)]
            log.exit_code = codes[0] if codes else 0


def _history(log: WandbLog, message: bytes, number: int) -> None:
    """One call of ``wandb.log``; its step is among its items or a separate message (2)."""
    items = dict(flat(_items(message)))
    step = items.get(STEP)
    if step is None:
        steps = [value for tag, value in fields_of(message) if tag == 2 and isinstance(value, bytes)]
        counts = [value for tag, value in fields_of(steps[0]) if tag == 1] if steps else []
        step = counts[0] if counts else 0
    for name, value in items.items():
        if name.startswith("_"):
            continue
        if (logged := logged_number(value)) is None:
            log.unread.add(name)
        else:
            log.history.setdefault(name, {})[int(step)] = logged
            log.summary[name] = logged


def _config(message: bytes) -> dict[str, Any]:
    return {name: value for name, value in _items(message).items() if not name.startswith("_")}


def _items(message: bytes) -> dict[str, Any]:
    """The items (1) of a message: name and value, which is JSON."""
    items: dict[str, Any] = {}
    for kind, item in fields_of(message):
        if kind != 1 or not isinstance(item, bytes):
            continue
        name, nested, text = "", [], "null"
        for tag, value in fields_of(item):
            if isinstance(value, bytes):
                logged = value.decode("utf-8", "replace")
                name = logged if tag == KEY else name
                nested += [logged] if tag == NESTED else []
                text = logged if tag == VALUE else text
        items[".".join(nested) if nested else name] = json.loads(text)
    return items


def fields_of(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer's message: varints as numbers, all else as bytes.

    Raises:
        ValueError, IndexError: it is none.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError("a record is not a message")
        size, at = (8, at) if kind == 1 else (4, at) if kind == 5 else _varint(data, at)
        if at + size > len(data):
            raise ValueError("a record is incomplete")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
