"""Recordings in folders or archives: by split and class, by tables of tags, named sets."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import SPLITS, SourcePath, Tree, csv_lines, open_tree, place_of, text_in
from suites.data.cache import cached
from suites.data.sounds import SUFFIXES, RateOptions, Sounds, SoundSplit, Waves, decode, fitted
from suites.data.splitting import SPELLED
from suites.data.types import Array, Labels, held_out

READER = "audiofolder/1"
FSDD = re.compile(r"(?:.*/)?(?P<digit>\d)_(?P<speaker>[A-Za-z]+)_(?P<take>\d+)\.wav")
ESC = re.compile(r".*\d{3} - (?P<name>[^/]+)/(?P<fold>\d)-[^/]+\.(ogg|wav)")


def recordings(tree: Tree) -> list[str]:
    """Names of the recordings of a tree, in fast reading order."""
    return [name for name in tree.names() if name.lower().endswith(SUFFIXES) and "/." not in f"/{name}"]


def decoded(
    place: SourcePath, rate: int, length: int, wanted: Callable[[Tree], list[str]] = recordings
) -> tuple[Waves, list[str]]:
    """Decode recordings (N, length) of a folder or archive by sorted name, with a cache; return them and the names."""
    source = place.source

    def make() -> Mapping[str, Array]:
        with open_tree(place.path, source) as tree:
            names = wanted(tree)
            if not names:
                raise HarnessError(f"{source}: {place.path} has no recordings ({', '.join(SUFFIXES)}) of this layout")
            waves = {name: fitted(decode(tree.read(name), rate, f"{source}: {name}"), length) for name in names}
        ordered = sorted(waves)
        return {"waves": np.stack([waves[name] for name in ordered]), "names": np.array(ordered)}

    arrays = cached((READER, source, place.checksum, f"rate {rate}", f"length {length}"), ("waves", "names"), make)
    return arrays["waves"], [str(name) for name in arrays["names"]]  # type: ignore[return-value]


def _sounds(waves: Waves, targets: Labels, parts: Mapping[str, Labels], classes: tuple[str, ...], rate: int) -> Sounds:
    splits = {
        name: SoundSplit(np.ascontiguousarray(waves[chosen]), targets[chosen], chosen)
        for name, chosen in ((name, np.sort(chosen).astype(np.int64)) for name, chosen in parts.items())
        if len(chosen)
    }
    return Sounds(splits, classes, rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFolderOptions(RateOptions):
    """Options of a folder of recordings by class."""

    path: str = option(REQUIRED, "folder or archive, absolute or below HARNESS_DATA")
    seconds: float = option(5.0, "length to which recordings are cut or padded", low=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedOptions(RateOptions):
    """Options of recordings with tables of tags."""

    validation: int = option(0, "recordings moved from training to validation if no table lists them", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTagsOptions(TaggedOptions):
    """Options of a folder of recordings with tables of tags."""

    path: str = option(REQUIRED, "folder or archive, absolute or below HARNESS_DATA")
    seconds: float = option(5.0, "length to which recordings are cut or padded", low=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class FsddOptions:
    """Options of the spoken digits."""

    samples: int = option(6000, "length at 8 kHz to which recordings are cut or padded", low=256)
    test_speakers: int = option(1, "test speakers of six", low=1, high=4)
    validation_speakers: int = option(1, "validation speakers of six", low=0, high=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Esc10Options(RateOptions):
    """Options of the environmental sounds."""

    test_fold: int = option(5, "test fold of five", low=1, high=5)


def load_folder(request: DataRequest[AudioFolderOptions]) -> Sounds:
    """Read a user's recordings in ``<split>/<class>/<name>``."""
    options = request.options
    rate, length = options.rate, round(options.seconds * options.rate)
    place = place_of(request)

    def wanted(tree: Tree) -> list[str]:
        return [n for n in recordings(tree) if len(PurePosixPath(n).parts) >= 3 and _part(n) is not None]

    waves, names = decoded(place, rate, length, wanted)
    classes = tuple(sorted({PurePosixPath(name).parts[-2] for name in names}))
    targets = np.array([classes.index(PurePosixPath(name).parts[-2]) for name in names], dtype=np.int64)
    parts = {part: np.array([i for i, n in enumerate(names) if _part(n) == part], dtype=np.int64) for part in SPLITS}
    for part in ("train", "test"):
        if not len(parts[part]):
            raise HarnessError(f"audiofolder: found no recordings in {part}/<class>/ below {place.path}")
    return _sounds(waves, targets, parts, classes, rate)


def _part(name: str) -> str | None:
    return SPELLED.get(PurePosixPath(name).parts[-3].lower())


def _matched(pattern: re.Pattern[str], names: list[str], source: str, form: str) -> list[re.Match[str]]:
    matches = []
    for name in names:
        match = pattern.fullmatch(name)
        if match is None:
            raise HarnessError(f"{source}: {name} is not named {form}")
        matches.append(match)
    return matches


def load_fsdd(request: DataRequest[FsddOptions]) -> Sounds:
    """Read spoken digits; the stream ``split`` assigns speakers to splits."""
    options = request.options
    waves, names = decoded(place_of(request), 8000, options.samples)
    matches = _matched(FSDD, names, "fsdd", "{digit}_{speaker}_{take}.wav")
    digits = np.array([int(match["digit"]) for match in matches], dtype=np.int64)
    speakers = np.array([match["speaker"] for match in matches])
    everyone = sorted(set(speakers.tolist()))
    counts = [options.test_speakers, options.validation_speakers]
    if sum(counts) >= len(everyone):
        raise HarnessError(
            f"fsdd: {sum(counts)} speakers for test and validation leave none of {len(everyone)} for training"
        )
    order = request.streams.numpy("split", "fsdd").permutation(everyone)
    groups = dict(zip(("test", "validation", "train"), np.split(order, np.cumsum(counts)), strict=True))
    parts = {name: np.isin(speakers, group).nonzero()[0] for name, group in groups.items()}
    return _sounds(waves, digits, parts, tuple(str(digit) for digit in range(10)), 8000)


def load_esc10(request: DataRequest[Esc10Options]) -> Sounds:
    """Read environmental sounds by the published folds: one tests, the one before it validates, the rest trains."""
    rate, test = request.options.rate, request.options.test_fold
    waves, names = decoded(place_of(request), rate, 5 * rate)
    matches = _matched(ESC, names, "esc10", "'NNN - Class/{fold}-{clip}.ogg'")
    classes = tuple(sorted({match["name"] for match in matches}))
    targets = np.array([classes.index(match["name"]) for match in matches], dtype=np.int64)
    folds = np.array([int(match["fold"]) for match in matches])
    parts = {"test": folds == test, "validation": folds == (test - 2) % 5 + 1}
    parts["train"] = ~(parts["test"] | parts["validation"])
    return _sounds(waves, targets, {name: mask.nonzero()[0] for name, mask in parts.items()}, classes, rate)


def read_tags(content: bytes, where: str) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """Read the tags, and each file's values: a column ``file`` and a 0/1 column a tag."""
    (_, header), *rows = csv_lines(text_in(content, where), where) or [(1, [])]
    if "file" not in header or len(header) < 3:
        raise HarnessError(f"{where} has the columns {header}; expected 'file' and one column a tag")
    place = header.index("file")
    table: dict[str, list[int]] = {}
    for line, row in rows:
        values = row[:place] + row[place + 1 :]
        if len(row) != len(header) or any(value not in ("0", "1") for value in values):
            raise HarnessError(f"{where}, line {line}: tags are 0 or 1, got {values}")
        table[row[place]] = [int(value) for value in values]
    return tuple(header[:place] + header[place + 1 :]), table


def load_tags(request: DataRequest[AudioTagsOptions]) -> Sounds:
    """Read a user's folder or archive with ``train.csv``, ``test.csv``, perhaps ``validation.csv``."""
    return _tagged(request, request.options.seconds)


def load_orchestra(request: DataRequest[TaggedOptions]) -> Sounds:
    """Read mixes of orchestral instruments, 15 tags, 2 seconds."""
    return _tagged(request, 2.0)


def _tagged(request: DataRequest[TaggedOptions], seconds: float) -> Sounds:
    place, source, rate = place_of(request), request.name, request.options.rate
    tables: dict[str, dict[str, list[int]]] = {}
    tags: tuple[str, ...] = ()
    with open_tree(place.path, source) as tree:
        for name in tree.names():
            part = SPELLED.get(PurePosixPath(name).stem) if name.endswith(".csv") else None
            if part is None:
                continue
            columns, table = read_tags(tree.read(name), f"{source}: {name}")
            if tags and columns != tags:
                raise HarnessError(f"{source}: {name} has other tags than the preceding tables")
            folder = PurePosixPath(name).parent
            tags, tables[part] = columns, {str(folder / file): values for file, values in table.items()}
    for part in ("train", "test"):
        if part not in tables:
            raise HarnessError(f"{source}: {place.path} lacks {part}.csv")
    every = {file for table in tables.values() for file in table}
    waves, names = decoded(place, rate, round(seconds * rate), lambda tree: [n for n in tree.names() if n in every])
    number = {name: place for place, name in enumerate(names)}
    absent = sorted(every - set(number))
    if absent:
        raise HarnessError(f"{source}: the tables name {absent[0]}, which is missing")
    parts = {part: np.array([number[file] for file in table], dtype=np.int64) for part, table in tables.items()}
    values = {file: row for table in tables.values() for file, row in table.items()}
    targets = np.array([values[name] for name in names], dtype=np.int64)
    if "validation" not in parts and request.options.validation:
        parts |= held_out(request, parts["train"], request.options.validation, "recordings")
    return _sounds(waves, targets, parts, tags, rate)
