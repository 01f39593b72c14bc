"""User text: files for train, valid and test, or one file cut in three.

Tokens are words or characters. Cuts are at line ends, without randomness: the beginning trains, the middle validates,
the end tests, so that no passage is on both sides.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.base.limits import content_of
from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.archive import missing
from suites.data.cache import cached, checksum
from suites.data.splitting import shares_of
from suites.data.types import Array, Text, vocabulary_of
from suites.data.wikitext import END, SPLITS, TokenFolderOptions, read

READER = "own-text/1"
USUAL: Mapping[str, float] = MappingProxyType({"validation": 0.1, "test": 0.1})
"""Default shares that are cut from the end of a single file."""
# Largest distance of a cut to the end of a line, as a share of the text.
FARTHEST = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTextOptions(TokenFolderOptions):
    """Options of the layout ``tokens``."""

    level: str = option("words", "kind of token; words are separated by blanks", choices=("words", "characters"))
    split: Mapping[str, Any] = option({}, "{validation: 0.1, test: 0.1}: shares or numbers of characters, from the end")


def find_texts(path: Path, source: str, cut: Iterable[str]) -> dict[str, Path]:
    """Find files by split; a single file or the only text of a folder is ``train``.

    Args:
        path: a file or a folder.
        source: for messages.
        cut: splits that are cut from ``train`` and need no file.
    """
    if not path.exists():
        raise missing(source, path)
    if path.is_file():
        return {"train": path}
    files = {split: file for split, names in SPLITS.items() if (file := _first(path, names)) is not None}
    texts = sorted(file for file in path.iterdir() if file.is_file() and file.name.endswith((".txt", ".txt.gz")))
    if not files and len(texts) == 1:
        return {"train": texts[0]}
    for split, (name, *_) in SPLITS.items():
        if split not in files and (split == "train" or split not in cut):
            listed = ", ".join(sorted(file.name for file in path.iterdir())[:6]) or "nothing"
            raise MissingDataError(
                f"{source}: {path} lacks {name}.txt (or {name}.tokens, each also with .gz); it has {listed}; to cut "
                "one text in three, set path to the file"
            )
    return files


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    """Find ``train.txt``, ``wiki.train.tokens``, …, in the order of ``wikitext``."""
    for name in names:
        for prefix in ("wiki.", "ptb.", ""):
            for suffix in (".tokens", ".txt", ".tokens.gz", ".txt.gz"):
                if (file := folder / f"{prefix}{name}{suffix}").is_file():
                    return file
    return None


def text_of(file: Path) -> str:
    """Read a file's text with ``\\n`` between lines."""
    try:
        content = content_of(file)
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise HarnessError(f"{file} cannot be read as text in UTF-8: {error}") from error


def cut_text(text: str, shares: Mapping[str, float], where: str) -> dict[str, str]:
    """Cut a text into ``train``, ``validation`` and ``test`` at line ends (else blanks)."""
    if not text.strip():
        raise HarnessError(f"{where} contains no text")
    sizes = {name: int(share) if share >= 1 else round(share * len(text)) for name, share in shares.items() if share}
    ends, place = [], len(text) - sum(sizes.values())
    for name in ("validation", "test"):
        if name in sizes:
            ends.append((name, _line_end(text, place)))
            place += sizes[name]
    parts = {}
    for (name, start), (_, end) in zip([("train", 0), *ends], [*ends, ("", len(text))], strict=True):
        if start >= end or not text[start:end].strip():
            raise HarnessError(
                f"{where}: {len(text)} characters are too few to cut off {_listed(shares)}; nothing remains for {name}"
            )
        parts[name] = text[start:end]
    return parts


def _listed(shares: Mapping[str, float]) -> str:
    return " and ".join(f"{name} {share:g}" for name, share in shares.items() if share)


def _line_end(text: str, place: int) -> int:
    """First start of a line from here on; else of a word, else the place."""
    near = place + max(1, int(FARTHEST * len(text)))
    for sign in ("\n", " "):
        end = text.find(sign, max(0, place - 1), near)
        if place > 0 and end >= 0:
            return end + 1
    return place


def tokens_of(text: str, level: str) -> Iterator[str]:
    """Split into characters, or words with ``<eos>`` after each line."""
    if level == "characters":
        yield from text
        return
    for line in text.removesuffix("\n").split("\n"):
        yield from line.split()
        yield END


def encoded(texts: Mapping[str, str], level: str, min_count: int) -> dict[str, Array]:
    """Token numbers by split, and ``words``: the vocabulary as JSON in bytes."""
    words = vocabulary_of(tokens_of(texts["train"], level), min_count)
    numbers = {word: place for place, word in enumerate(words)}
    arrays: dict[str, Array] = {"words": np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)}
    for split, text in texts.items():
        arrays[split] = np.array([numbers.get(token, 0) for token in tokens_of(text, level)], dtype=np.int32)
    return arrays


def load_text(request: DataRequest[OwnTextOptions]) -> Text:
    """Read a user's file or folder at ``path``.

    Raises:
        MissingDataError: it does not exist, or a folder lacks a split.
        HarnessError: a damaged file, a text too short for its cuts, or a cut for a split that has a file.
    """
    options, source = request.options, request.name
    shares = shares_of(options.split, source)
    files = find_texts(request.root / options.path, source, [name for name, share in shares.items() if share])
    if options.level == "words" and len(files) == len(SPLITS) and not shares:
        return read(files, source, options.min_count)
    if len(files) == 1 and not shares:
        shares = dict(USUAL)
    for split in files:
        if shares.get(split):
            raise HarnessError(f"{source}: split: {files[split]} is the {split} already; remove '{split}'")
    wanted = [split for split in SPLITS if split in files or shares.get(split)]

    def make() -> dict[str, Array]:
        texts = {split: text_of(file) for split, file in files.items()}
        texts |= cut_text(texts["train"], shares, f"{source}: {files['train']}")
        return encoded(texts, options.level, options.min_count)

    parameters = f"level {options.level} min_count {options.min_count} split {sorted(shares.items())}"
    sums = (f"{split} {checksum(file)}" for split, file in sorted(files.items()))
    arrays = cached((READER, parameters, *sums), ("words", *wanted), make)
    splits = {split: np.asarray(arrays[split], dtype=np.int64) for split in wanted}
    return Text(splits, tuple(json.loads(arrays["words"].tobytes())))
