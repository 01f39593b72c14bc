"""TensorBoard's event files, read without TensorFlow: the scalars of a training."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path


def scalars_of(file: Path) -> Iterator[tuple[int, str, float]]:
    """Step, tag and value of the scalars of an event file.

    Records are length, checksum, data, checksum; an event has its step in field 2 and its summary in field 5, whose
    values have a tag (1) and a simple value (2) or a tensor (8). A file that breaks off ends there.
    Source: tensorflow/core/util/event.proto, summary.proto; tensorflow/core/lib/io/record_writer.h.
    """
    data = file.read_bytes()
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = data[at + 12 : at + 12 + length]
        if len(event) < length:
            return
        at += 16 + length
        try:
            step, summaries = 0, []
            for number, value in _fields(event):
                if number == 2 and isinstance(value, int):
                    step = value
                elif number == 5 and isinstance(value, bytes):
                    summaries.append(value)
            for summary in summaries:
                for number, value in _fields(summary):
                    if number == 1 and isinstance(value, bytes):
                        yield from ((step, *scalar) for scalar in _scalar(value))
        except (IndexError, struct.error, ValueError):
            return


def _scalar(value: bytes) -> Iterator[tuple[str, float]]:
    tag, number = "", None
    for field, content in _fields(value):
        if field == 1 and isinstance(content, bytes):
            tag = content.decode("utf-8", "replace")
        elif field == 2 and isinstance(content, bytes) and len(content) == 4:
            (number,) = struct.unpack("<f", content)
        elif field == 8 and isinstance(content, bytes):
            number = _tensor(content)
    if tag and number is not None:
        yield tag, float(number)


def _tensor(content: bytes) -> float | None:
    """A scalar tensor: its type (1), its bytes (4), or one float (5) or double (6)."""
    kind, number = 0, None
    for field, value in _fields(content):
        if field == 1 and isinstance(value, int):
            kind = value
        elif isinstance(value, bytes):
            if field == 4 and (kind, len(value)) in ((1, 4), (2, 8)):
                (number,) = struct.unpack("<f" if kind == 1 else "<d", value)
            elif field == 5 and len(value) == 4:
                (number,) = struct.unpack("<f", value)
            elif field == 6 and len(value) == 8:
                (number,) = struct.unpack("<d", value)
    return number


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer's message: varints as numbers, all else as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        size, at = (8, at) if kind == 1 else (4, at) if kind == 5 else _varint(data, at)
        if kind not in (1, 2, 5) or at + size > len(data):
            raise ValueError("not a message")
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
        if shift > 63:
            raise ValueError("not a varint")
