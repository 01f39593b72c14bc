"""The Harmonic CNN paper's three sets in their published layouts.

Recordings stay in their files.


- Speech Commands (Warden 2018): ``<word>/<name>.wav``, ``validation_list.txt`` and ``testing_list.txt`` name the
  held-out files, ``_background_noise_`` is not a word.
- MagnaTagATune (Law et al. 2009): ``annotations_final.csv``, tab-separated, ``clip_id``, 188 tags, ``mp3_path``; the 50
  most frequent tags; folders 0–b train, c validates, d–f test; clips without any of the tags are dropped.
- DCASE 2017 task 4: ``groundtruth_weak_label_{training,testing,evaluation}_set.csv``, tab-separated and without header:
  file, start, end, label; audio in ``training``, ``testing``, ``evaluation`` with a ``Y`` before the file's name.
"""

from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from suites.data.archive import csv_lines, missing, text_of
from suites.data.sounds import RateOptions, SoundFiles, Sounds, SoundSplit

TOP_TAGS = 50
DCASE_CLASSES = (
    "Train horn",
    "Air horn, truck horn",
    "Car alarm",
    "Reversing beeps",
    "Ambulance (siren)",
    "Police car (siren)",
    "Fire engine, fire truck (siren)",
    "Civil defense siren",
    "Screaming",
    "Bicycle",
    "Skateboard",
    "Car",
    "Car passing by",
    "Bus",
    "Truck",
    "Motorcycle",
    "Train",
)
Recording = tuple[Path, object]


def _sounds(rows: dict[str, list[Recording]], classes: tuple[str, ...], rate: int, source: str) -> Sounds:
    splits, first = {}, 0
    for name, listed in rows.items():
        if not listed:
            raise HarnessError(f"{source}: no recordings in the split {name}")
        items = np.arange(first, first + len(listed), dtype=np.int64)
        targets = np.array([target for _, target in listed], dtype=np.int64)
        splits[name] = SoundSplit(SoundFiles(tuple(path for path, _ in listed), rate), targets, items)
        first += len(listed)
    return Sounds(splits, classes, rate)


def _folder(root: Path, source: str, *needed: str) -> Path:
    for name in needed:
        if not (root / source / name).exists():
            raise missing(source, root / source / name)
    return root / source


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in text_of(file, "speech-commands").splitlines() if line.strip()]


def load_speech_commands(request: DataRequest[RateOptions]) -> Sounds:
    """Read single words by the published lists; folders that begin with ``_`` are not words."""
    lists = {"validation": "validation_list.txt", "test": "testing_list.txt"}
    folder = _folder(request.root, "speech-commands", *lists.values())
    words = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(("_", "."))))
    held = {name: part for part, file in lists.items() for name in _lines(folder / file)}
    rows: dict[str, list[Recording]] = {"train": [], "validation": [], "test": []}
    seen = set()
    for number, word in enumerate(words):
        for path in sorted((folder / word).glob("*.wav")):
            name = f"{word}/{path.name}"
            seen.add(name)
            rows[held.get(name, "train")].append((path, number))
    absent = sorted(set(held) - seen)
    if absent:
        raise HarnessError(f"speech-commands: the lists name {absent[0]}, which is not below {folder}")
    return _sounds(rows, words, request.options.rate, "speech-commands")


def load_magnatagatune(request: DataRequest[RateOptions]) -> Sounds:
    """Read clips with the 50 most frequent tags, split by folder."""
    folder = _folder(request.root, "magnatagatune", "annotations_final.csv")
    file = folder / "annotations_final.csv"
    header, *table = _tabbed(file, "magnatagatune") or [[""]]
    if header[0] != "clip_id" or header[-1] != "mp3_path" or len(header) < 3:
        raise HarnessError(f"magnatagatune: {file} begins with {header[:2]}; expected clip_id, the tags, mp3_path")
    if not table:
        raise HarnessError(f"magnatagatune: {file} lists no clip")
    try:
        values = np.array([row[1:-1] for row in table], dtype=np.int64)
    except ValueError as error:
        raise HarnessError(
            f"magnatagatune: {file} has rows of different lengths or tags that are not numbers"
        ) from error
    # most frequent first, ties in column order
    top = np.argsort(-values.sum(axis=0), kind="stable")[:TOP_TAGS]
    rows: dict[str, list[Recording]] = {"train": [], "validation": [], "test": []}
    for row, tags in zip(table, values[:, top], strict=True):
        path = folder / row[-1]
        if tags.any() and path.is_file():  # some published mp3 files are empty or lost
            rows[_mtat_part(row[-1], file)].append((path, tags))
    return _sounds(rows, tuple(header[1 + int(t)] for t in top), request.options.rate, "magnatagatune")


def _mtat_part(path: str, file: Path) -> str:
    try:
        number = int(path[0], 16)
    except (ValueError, IndexError) as error:
        raise HarnessError(f"magnatagatune: {file} names '{path}'; expected a folder 0–f and a file") from error
    return "train" if number < 12 else "validation" if number == 12 else "test"


def load_dcase2017(request: DataRequest[RateOptions]) -> Sounds:
    """Read ten-second clips with weak labels.

    The testing set joins the training, the evaluation set is the test. A tenth of the training, drawn by the stream
    ``split``, validates.
    """
    tables = {part: f"groundtruth_weak_label_{part}_set.csv" for part in ("training", "testing", "evaluation")}
    folder = _folder(request.root, "dcase2017-task4", *tables.values())
    clips = {part: _weak(folder / file, folder / part) for part, file in tables.items()}
    train = clips["training"] + clips["testing"]
    order = request.streams.numpy("split", "dcase2017-task4").permutation(len(train))
    held = set(order[: len(train) // 10].tolist())
    rows = {
        "train": [row for place, row in enumerate(train) if place not in held],
        "validation": [row for place, row in enumerate(train) if place in held],
        "test": clips["evaluation"],
    }
    return _sounds(rows, DCASE_CLASSES, request.options.rate, "dcase2017-task4")


def _weak(file: Path, audio: Path) -> list[Recording]:
    tags: dict[str, np.ndarray] = {}
    for row in _tabbed(file, "dcase2017-task4"):
        if len(row) != 4 or row[3] not in DCASE_CLASSES:
            raise HarnessError(f"dcase2017-task4: {file} holds {row}; expected file, start, end and a known label")
        tags.setdefault(row[0], np.zeros(len(DCASE_CLASSES), dtype=np.int64))[DCASE_CLASSES.index(row[3])] = 1
    # some YouTube clips are gone; the available ones are used
    return [(audio / f"Y{name}", targets) for name, targets in tags.items() if (audio / f"Y{name}").is_file()]


def _tabbed(file: Path, source: str) -> list[list[str]]:
    return [row for _, row in csv_lines(text_of(file, source), f"{source}: {file}", "\t")]
