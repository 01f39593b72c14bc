"""Channel state information in the ESP32's csv files: WiFall, WiGesture, user folders.

Format: WiFall/README.md and WiGesture/README.md of RS2002/KNN-MMD and RS2002/CSI-BERT. Each row is a packet; the
column ``data`` has real and imaginary part of each subcarrier in turn, as a list in brackets. Folders name person and
action: ``ID<n>/<action>/<recording>.csv`` (WiFall) or ``ID<n>/<action>.csv`` (WiGesture).
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import SourcePath, csv_lines, open_tree, place_of, text_in
from suites.data.cache import cached
from suites.data.csi_domains import Amplitudes, CsiDomains, CsiWindows, DivisionOptions, divide
from suites.data.types import Array

READER = "csi-csv/1"
COLUMN = "data"
PERSON = re.compile(r"^(?:ID)?_?(.+)$", re.IGNORECASE)
STATIC = "static"  # WiGesture's folder of postures without motion


@dataclass(frozen=True, slots=True)
class _Recording:
    file: str
    person: str
    action: str


def list_recordings(names: list[str], source: str) -> list[_Recording]:
    """List the recordings among a tree's names, sorted; folders above the person and ``Static`` are ignored."""
    listed = []
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() != ".csv" or path.name.startswith(".") or len(path.parts) < 2:
            continue
        if any(part.lower() == STATIC for part in path.parts[:-1]):
            continue
        nested = len(path.parts) >= 3 and not re.fullmatch(r"ID\d+", path.parts[-2], re.IGNORECASE)
        person, action = (path.parts[-3], path.parts[-2]) if nested else (path.parts[-2], path.stem)
        match = PERSON.match(person)
        assert match is not None  # a part of a path is not empty
        # one spelling: the published folders have Jump beside fall, sit, stand and walk
        listed.append(_Recording(name, match.group(1), action.lower()))
    if not listed:
        raise HarnessError(
            f"{source}: no recordings; expected <person>/<action>/<recording>.csv or <person>/<action>.csv"
        )
    return sorted(listed, key=lambda recording: (recording.person, recording.action, recording.file))


def parse(content: bytes, where: str) -> Amplitudes:
    """Parse the amplitudes (packets, subcarriers) of one csv."""
    (_, header), *rows = csv_lines(text_in(content, where), where) or [(1, [])]
    if COLUMN not in header:
        raise HarnessError(f"{where} lacks the column '{COLUMN}'; it has {', '.join(header)}")
    place, cells = header.index(COLUMN), []
    for line, row in rows:
        cell = row[place].strip() if place < len(row) else ""
        if not (cell.startswith("[") and cell.endswith("]")):
            raise HarnessError(f"{where}, line {line}: 'data' must be a list in brackets, got {cell[:40]!r}")
        cells.append(cell[1:-1])
    if not cells:
        raise HarnessError(f"{where} contains no packets")
    length = cells[0].count(",") + 1
    wrong = next((line for (line, _), cell in zip(rows, cells, strict=True) if cell.count(",") + 1 != length), None)
    if length % 2 or wrong is not None:
        at = f", line {wrong}" if wrong is not None else ""
        raise HarnessError(
            f"{where}{at}: each row must have real and imaginary part of the same subcarriers, the first row has "
            f"{length} numbers"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy only warns when it stops reading
            flat = np.fromstring(",".join(cells), dtype=np.int32, sep=",")
        values = flat.reshape(len(cells), length // 2, 2)
    except (ValueError, DeprecationWarning) as error:
        raise HarnessError(f"{where}: 'data' contains something other than integers: {error}") from error
    return np.hypot(values[..., 0], values[..., 1]).astype(np.float32)


def read(place: SourcePath, packets: int) -> Mapping[str, Array]:
    """Cut every recording into windows of ``packets`` packets, with a cache.

    The rest of a recording is dropped.

    Returns:
        ``windows`` (N, packets, S), ``recordings`` (N,), ``places`` (N,) of the window in its recording, ``people``
        and ``actions`` by recording as numbers into ``people_names`` and ``action_names``.
    """
    source = place.source

    def make() -> Mapping[str, Array]:
        with open_tree(place.path, source) as tree:
            names = tree.names()
            listed = list_recordings(names, source)
            wanted = {recording.file for recording in listed}
            # in the archive's own order: seeking back in a compressed archive restarts at its beginning
            amplitudes = {file: parse(tree.read(file), f"{source}: {file}") for file in names if file in wanted}
        return _cut(listed, amplitudes, packets, source)

    parts = ("windows", "recordings", "places", "people", "actions", "people_names", "action_names")
    return cached((READER, place.checksum, f"packets {packets}"), parts, make)


def _cut(listed: list[_Recording], amplitudes: Mapping[str, Amplitudes], packets: int, source: str) -> dict[str, Array]:
    people, actions = (sorted({getattr(recording, kind) for recording in listed}) for kind in ("person", "action"))
    widths = {values.shape[1] for values in amplitudes.values()}
    if len(widths) > 1:
        raise HarnessError(f"{source}: recordings have different numbers of subcarriers: {sorted(widths)}")
    windows: list[Amplitudes] = []
    recordings: list[int] = []
    places: list[int] = []
    for number, recording in enumerate(listed):
        values = amplitudes[recording.file]
        count = len(values) // packets
        windows.append(values[: count * packets].reshape(count, packets, -1))
        recordings += [number] * count
        places += range(count)
    if not recordings:
        raise HarnessError(f"{source}: no recording has {packets} packets; lower 'packets'")
    return {
        "windows": np.concatenate(windows),
        "recordings": np.array(recordings, dtype=np.int64),
        "places": np.array(places, dtype=np.int64),
        "people": np.array([people.index(recording.person) for recording in listed], dtype=np.int64),
        "actions": np.array([actions.index(recording.action) for recording in listed], dtype=np.int64),
        "people_names": np.array(people),
        "action_names": np.array(actions),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvOptions(DivisionOptions):
    """Options of recordings in csv files."""

    packets: int = option(100, "packets of a window: about one second", low=2)
    steps: int = option(100, "time steps of a window, each the mean of the same number of packets", low=1)
    segment: int = option(0, "windows of a recording that form a separate group; 0: all", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsiFolderOptions(CsvOptions):
    """Options of a user's own folder."""

    path: str = option(REQUIRED, "folder or archive, absolute or below HARNESS_DATA")


def windows_of(arrays: Mapping[str, Array], options: CsvOptions, source: str) -> CsiWindows:
    """Build windows with ``steps`` time steps, each the mean of packets; cut long recordings into segments."""
    windows, recordings = np.asarray(arrays["windows"], dtype=np.float32), np.asarray(arrays["recordings"])
    steps, packets = options.steps, windows.shape[1]
    if packets % steps:
        raise HarnessError(f"{source}: {packets} packets cannot be divided evenly into {steps} steps")
    if steps != packets:
        windows = windows.reshape(len(windows), steps, packets // steps, -1).mean(axis=2)
    groups = recordings
    if options.segment:
        segments = np.asarray(arrays["places"]) // options.segment
        _, groups = np.unique(np.stack([recordings, segments], axis=1), axis=0, return_inverse=True)
    return CsiWindows(
        windows,
        np.asarray(arrays["people"])[recordings],
        np.asarray(arrays["actions"])[recordings],
        np.asarray(groups, dtype=np.int64).reshape(-1),
        tuple(map(str, arrays["people_names"])),
        tuple(map(str, arrays["action_names"])),
    )


def load_folder(request: DataRequest[CsvOptions]) -> CsiDomains:
    """Read a user's folder or archive at ``path``, or a named one."""
    options, name = request.options, request.name
    return divide(
        windows_of(read(place_of(request), options.packets), options, name), options, request.streams.seed, name
    )
