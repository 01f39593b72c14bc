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
RUN_CONFIG, RUN_TEXTS = 4, {6: "group", 7: "job_type", 8: "name"}
"""Fields of a RunRecord."""
KEY, NESTED, VALUE = 1, 2, 16
"""Fields of an item of history, summary or configuration."""
STEP = "_step"


@dataclass(slots=True)
class WandbLog:
    """The contents of a log.

    Attributes:
        history: value by step by name; of a step that was logged twice the last one.
        summary: the last value of each name.
        unread: names with other values than numbers.
        broken: why it was read only in part; empty where it was read to its end.
    """

    history: dict[str, dict[int, float]] = field(default_factory=dict)
    summary: dict[str, float] = field(default_factory=dict)
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
        for record in _records(data):
            for kind, message in fields_of(record):
                if isinstance(message, bytes):
                    _add(log, kind, message)
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


def _add(log: WandbLog, kind: int, message: bytes) -> None:
    """Add a record to a log."""
    if kind == HISTORY:
        _add_history(log, message)
    elif kind == SUMMARY:
        for name, value in flat(dict(_items(message))):
            if (logged := logged_number(value)) is not None:
                log.summary[name] = logged
    elif kind == CONFIG:
        log.config.update(item for item in _items(message) if not item[0].startswith("_"))
    elif kind == RUN:
        for tag, value in fields_of(message):
            if isinstance(value, bytes) and tag == RUN_CONFIG:
                log.config.update(item for item in _items(value) if not item[0].startswith("_"))
            elif isinstance(value, bytes) and tag in RUN_TEXTS:
                setattr(log, RUN_TEXTS[tag], value.decode("utf-8", "replace"))
    elif kind == EXIT:
        log.exit_code = next((value for tag, value in fields_of(message) if tag == 1 and isinstance(value, int)), 0)


def _add_history(log: WandbLog, message: bytes) -> None:
    """Add one call of ``wandb.log``; its step is among its items or a separate message (2)."""
    items = dict(flat(dict(_items(message))))
    step = items.get(STEP)
    if step is None:
        counts = (fields_of(value) for tag, value in fields_of(message) if tag == 2 and isinstance(value, bytes))
        step = next((count for fields in counts for tag, count in fields if tag == 1), 0)
    for name, value in items.items():
        if name.startswith("_"):
            continue
        if (logged := logged_number(value)) is None:
            log.unread.add(name)
        else:
            log.history.setdefault(name, {})[int(step)] = logged
            log.summary[name] = logged


def _items(message: bytes) -> Iterator[tuple[str, Any]]:
    """The items (1) of a message: name and value, which is JSON."""
    for kind, item in fields_of(message):
        if kind != 1 or not isinstance(item, bytes):
            continue
        texts: dict[int, list[str]] = {KEY: [""], NESTED: [], VALUE: ["null"]}
        for tag, value in fields_of(item):
            if isinstance(value, bytes) and tag in texts:
                texts[tag].append(value.decode("utf-8", "replace"))
        yield ".".join(texts[NESTED]) or texts[KEY][-1], json.loads(texts[VALUE][-1])


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
