"""TensorBoard's event files, written without TensorFlow: ``tensorboard --logdir FOLDER`` shows them.

A record is its length, the length's checksum, the data, the data's checksum; the checksum is a masked CRC-32C.
Sources: tensorflow/core/lib/io/record_writer.h, lib/hash/crc32c.h, core/util/event.proto, framework/summary.proto.
``harness.trial.event_files`` reads what is written here.
"""

from __future__ import annotations

import re
import struct
from functools import cache
from pathlib import Path

from harness.results.trackers.records import TrackedTrial

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
_MASK = 0xA282EAD8
_LARGEST = 3.4028234663852886e38  # of single precision, in which TensorBoard keeps values


class TensorBoardFolder:
    """A log folder: a folder a trial, whose name has the trial's identity, so that two recipes never share a curve."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, trial: TrackedTrial) -> Path:
        """Write a trial's curves and final numbers; its file is replaced as a whole."""
        names = (*trial.group.split("/"), trial.benchmark, trial.arm, f"seed{trial.seed}-{trial.trial_id[:8]}")
        place = self.folder.joinpath(*map(_folder_name, names))
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"events.out.tfevents.{round(trial.began):010d}.{trial.key[:12]}"
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(events_of(trial))
        for other in place.glob("events.out.tfevents.*"):
            if other != path:  # of an attempt that began at another time
                other.unlink()
        part.replace(path)
        return path


def _folder_name(name: str) -> str:
    """A name as that of a folder in its parent: none that leads anywhere else."""
    return re.sub(r"^\.+$", "_", re.sub(r"[^\w.+=-]", "_", name))[:200] or "_"


def events_of(trial: TrackedTrial) -> bytes:
    """The whole event file of a trial; final numbers stand under ``final/`` at its last step."""
    records = [_record(_double(1, trial.began) + _text(3, "brain.Event:2"))]
    points = [(point.step, point.at, name, point.value) for name, curve in trial.curves() for point in curve]
    points.sort(key=lambda point: point[:2])
    finals = [(trial.last_step, trial.ended, f"final/{name}", value) for name, value in trial.finals.items()]
    records += [_record(_scalar(*point)) for point in (*points, *finals)]
    return b"".join(records)


def _scalar(step: int, at: float, tag: str, value: float) -> bytes:
    """An event with one scalar."""
    narrow = max(-_LARGEST, min(_LARGEST, value)) if abs(value) < float("inf") else value
    told = _text(1, tag) + struct.pack("<Bf", 2 << 3 | 5, narrow)
    return _double(1, at) + _whole(2, step) + _bytes(5, _bytes(1, told))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def masked_crc(data: bytes) -> int:
    """The checksum of a record: CRC-32C, rotated right by 15 bits and shifted, since data may hold checksums."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720, appendix B.4)."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
        rows.append(byte)
    return tuple(rows)


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF  # a negative number has ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _whole(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
