"""W&B's run folders, read without wandb, whose client needs a server: ``wandb/offline-run-*`` and ``wandb/run-*``.

``files/wandb-summary.json`` has the final numbers, ``files/config.yaml`` the configuration, and ``run-ID.wandb`` the
curves, the run's name and its exit code. That log is a header, then blocks of 32 KiB with records as LevelDB's logs
have them: checksum, length, kind (whole, first, middle, last part), data. Each record is a protocol buffer's message
(wandb/sdk/internal/datastore.py, wandb/proto/wandb_internal.proto).
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from harness.base import yaml_nodes
from harness.base.values import flat
from harness.errors import HarnessError
from harness.imports.foreign import ForeignRun, ForeignSource, Point, by_step, logged_number, sha256_of_files

FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(?P<id>.+)")
"""The name of a run's folder."""
SUMMARY_FILE, CONFIG_FILE = Path("files", "wandb-summary.json"), Path("files", "config.yaml")
LOST = "its curves, its name and how it ended are not known: only final numbers are taken"


def run_folders(folder: Path) -> list[Path]:
    """The runs in a folder: itself, those in it, or those in its folder ``wandb``."""
    if _is_run(folder):
        return [folder]
    inside = [*folder.glob("*run-*"), *folder.glob("wandb/*run-*")]
    return sorted(path for path in inside if path.is_dir() and not path.is_symlink() and _is_run(path))


def _is_run(folder: Path) -> bool:
    if (folder / SUMMARY_FILE).is_file():
        return True
    return FOLDER.fullmatch(folder.resolve().name) is not None and any(folder.glob("*.wandb"))


def read_runs(root: Path) -> ForeignSource:
    """The runs of a folder.

    Raises:
        HarnessError: a file is not one of W&B's.
    """
    runs: list[ForeignRun] = []
    files: list[Path] = []
    notes: list[str] = []
    for folder in run_folders(root):
        logs = sorted(folder.glob("*.wandb"))[:1]
        files += [file for file in (folder / SUMMARY_FILE, folder / CONFIG_FILE, *logs) if file.is_file()]
        runs.append(_run(folder, _log(folder, logs, notes)))
    return ForeignSource(root, "W&B run folder", sha256_of_files(root, files), runs, notes=tuple(dict.fromkeys(notes)))


def _run(folder: Path, log: WandbLog) -> ForeignRun:
    summary = _summary(folder / SUMMARY_FILE) if (folder / SUMMARY_FILE).is_file() else log.summary
    series: dict[str, list[Point]] = {name: by_step(points) for name, points in log.history.items()}
    for name, number in summary.items():
        series.setdefault(name, []).append((None, number))
    numbers = {name: points for name, points in series.items() if not name.startswith("_")}
    config = log.config
    if (folder / CONFIG_FILE).is_file():  # lr: {desc: null, value: 0.1}
        entries = yaml_nodes.read(folder / CONFIG_FILE).plain().items()
        config = {
            key: entry["value"] if isinstance(entry, Mapping) and "value" in entry else entry
            for key, entry in entries
            if key not in ("_wandb", "wandb_version")
        }
    match = FOLDER.fullmatch(folder.resolve().name)
    own = {"Name": log.name or folder.name, "id": match["id"] if match else folder.name, "folder": folder.name}
    own |= {key: value for key, value in (("group", log.group), ("job_type", log.job_type)) if value}
    ended = f"ended with exit code {log.exit_code}" if log.exit_code else ""
    return ForeignRun(str(folder), {**own, **dict(flat(config))}, numbers, ended)


def _log(folder: Path, logs: list[Path], notes: list[str]) -> WandbLog:
    """The log's contents; adds notes on missing data."""
    if not logs:
        notes.append(f"{folder.name} has no run-….wandb: {LOST}")
        return WandbLog()
    try:
        log = read_log(logs[0])
    except ValueError as error:
        notes.append(f"{logs[0].name} cannot be read ({error}): {LOST}")
        return WandbLog()
    if log.broken:
        notes.append(f"{logs[0].name} breaks off: {log.broken}")
    if log.unread:
        names = ", ".join(sorted(log.unread)[:5])
        notes.append(f"{logs[0].name}: histograms, media and tables are left out ({names})")
    return log


def _summary(file: Path) -> dict[str, float]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise HarnessError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start + 1}") from None
    except OSError as error:
        raise HarnessError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{file}: not JSON: {error}") from None
    if not isinstance(content, Mapping):
        raise HarnessError(f"{file}: an object of final numbers is expected")
    numbers = {name: logged_number(value) for name, value in flat(content)}
    return {name: number for name, number in numbers.items() if number is not None}


# the log

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
            for kind, message in _fields(record):
                if isinstance(message, bytes):
                    _add(log, kind, message)
    except (ValueError, DecodeError) as error:
        log.broken = str(error)
    return log


def _records(data: bytes) -> Iterator[bytes]:
    """The records, their parts joined; ValueError for a part that is missing, cut off or damaged."""
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
    if kind == HISTORY:
        _add_history(log, message)
    elif kind == SUMMARY:
        for name, value in flat(dict(_items(message))):
            if (logged := logged_number(value)) is not None:
                log.summary[name] = logged
    elif kind == CONFIG:
        log.config.update(item for item in _items(message) if not item[0].startswith("_"))
    elif kind == RUN:
        for tag, value in _fields(message):
            if isinstance(value, bytes) and tag == RUN_CONFIG:
                log.config.update(item for item in _items(value) if not item[0].startswith("_"))
            elif isinstance(value, bytes) and tag in RUN_TEXTS:
                setattr(log, RUN_TEXTS[tag], value.decode("utf-8", "replace"))
    elif kind == EXIT:
        log.exit_code = next((value for tag, value in _fields(message) if tag == 1 and isinstance(value, int)), 0)


def _add_history(log: WandbLog, message: bytes) -> None:
    """Add one call of ``wandb.log``; its step is among its items or a separate message (2)."""
    items = dict(flat(dict(_items(message))))
    step = items.get(STEP)
    if step is None:
        counts = (_fields(value) for tag, value in _fields(message) if tag == 2 and isinstance(value, bytes))
        step = next((count for fields in counts for tag, count in fields if tag == 1 and isinstance(count, int)), 0)
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
    for kind, item in _fields(message):
        if kind != 1 or not isinstance(item, bytes):
            continue
        texts: dict[int, list[str]] = {KEY: [""], NESTED: [], VALUE: ["null"]}
        for tag, value in _fields(item):
            if isinstance(value, bytes) and tag in texts:
                texts[tag].append(value.decode("utf-8", "replace"))
        yield ".".join(texts[NESTED]) or texts[KEY][-1], json.loads(texts[VALUE][-1])


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer's message by number; DecodeError for anything else."""
    return ((field.field_number, field.data) for field in UnknownFieldSet(Empty.FromString(data)))
