"""Running text of one's own: files for train, valid and test, or one file that is cut in three; words or characters.

A cut is made where a line ends, without any draw: what comes first trains, then comes validation, what comes last
tests, so that no passage is on both sides.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.base.limits import content_of
from harness.errors import HarnessError, MissingDataError
from harness.trial.options import option
from suites.data.archive import missing
from suites.data.cache import cached, checksum
from suites.data.splitting import shares_of
from suites.data.types import Array, Text, vocabulary_of
from suites.data.wikitext import END, SPLITS, TokenFolderOptions, read

if TYPE_CHECKING:
    from harness.trial.contracts import DataRequest

READER = "own-text/1"
USUAL: Mapping[str, float] = MappingProxyType({"validation": 0.1, "test": 0.1})
"""What is cut from the end of a single file where nothing else is asked for."""
# So far a cut may move to the end of a line, as a share of the text.
FARTHEST = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTextOptions(TokenFolderOptions):
    """Options of the layout ``tokens``."""

    level: str = option("words", "what a token is; words stand between blanks", choices=("words", "characters"))
    split: Mapping[str, Any] = option({}, "{validation: 0.1, test: 0.1}: shares or numbers of characters, from the end")


def find_texts(path: Path, source: str, cut: Iterable[str]) -> dict[str, Path]:
    """Files by split: one file is ``train`` alone, and so is the only text of a folder.

    Args:
        path: a file or a folder.
        source: for messages.
        cut: splits that are cut from ``train`` and need no file.

    Raises:
        MissingDataError: there is nothing, or a folder lacks the file of a split; the names that it may have are said.
    """
    if not path.exists():
        raise missing(source, path)
    if path.is_file():
        return {"train": path}
    found = {split: file for split, names in SPLITS.items() if (file := _first(path, names)) is not None}
    texts = sorted(file for file in path.iterdir() if file.is_file() and file.name.endswith((".txt", ".txt.gz")))
    if not found and len(texts) == 1:
        return {"train": texts[0]}
    for split, (name, *_) in SPLITS.items():
        if split not in found and (split == "train" or split not in cut):
            listed = ", ".join(sorted(file.name for file in path.iterdir())[:6]) or "nothing"
            raise MissingDataError(
                f"{source}: {path} has no {name}.txt (or {name}.tokens, each also with .gz) but {listed}; to have one "
                f"text cut in three, point path at the file"
            )
    return found


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    """``train.txt``, ``wiki.train.tokens``, ``ptb.train.txt.gz``, …, in the order in which ``wikitext`` looks."""
    for name in names:
        for prefix in ("wiki.", "ptb.", ""):
            for suffix in (".tokens", ".txt", ".tokens.gz", ".txt.gz"):
                if (file := folder / f"{prefix}{name}{suffix}").is_file():
                    return file
    return None


def text_of(file: Path) -> str:
    """A file's text with ``\\n`` between lines.

    Raises:
        HarnessError: it is damaged or not UTF-8.
    """
    try:
        content = content_of(file)
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise HarnessError(f"{file} cannot be read as text in UTF-8: {error}") from error


def cut_text(text: str, shares: Mapping[str, float], where: str) -> dict[str, str]:
    """A text as ``train``, ``validation`` and ``test`` in this order, cut where a line ends (else at a blank).

    Raises:
        HarnessError: a part would be empty.
    """
    if not text.strip():
        raise HarnessError(f"{where} holds no text")
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
                f"{where}: {len(text)} characters are too few to cut off {_said(shares)}; nothing is left for {name}"
            )
        parts[name] = text[start:end]
    return parts


def _said(shares: Mapping[str, float]) -> str:
    return " and ".join(f"{name} {share:g}" for name, share in shares.items() if share)


def _line_end(text: str, place: int) -> int:
    """The first place from here on where a line begins, a word where none is near, else the place itself."""
    near = place + max(1, int(FARTHEST * len(text)))
    for sign in ("\n", " "):
        end = text.find(sign, max(0, place - 1), near)
        if place > 0 and end >= 0:
            return end + 1
    return place


def tokens_of(text: str, level: str) -> Iterator[str]:
    """Characters, or the words of each line with ``<eos>`` after it."""
    if level == "characters":
        yield from text
        return
    for line in text.removesuffix("\n").split("\n"):
        yield from line.split()
        yield END


def encoded(texts: Mapping[str, str], level: str, min_count: int) -> dict[str, Array]:
    """Token numbers by split, and ``words``: the vocabulary of ``train`` as JSON in bytes."""
    words = vocabulary_of(tokens_of(texts["train"], level), min_count)
    numbers = {word: place for place, word in enumerate(words)}
    arrays: dict[str, Array] = {"words": np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)}
    for split, text in texts.items():
        arrays[split] = np.array([numbers.get(token, 0) for token in tokens_of(text, level)], dtype=np.int32)
    return arrays


def load_text(request: DataRequest[OwnTextOptions]) -> Text:
    """A user's own file or folder at ``path``.

    Raises:
        MissingDataError: there is nothing, or a folder lacks a split.
        HarnessError: a damaged file, a text too short for its cuts, or a split that has a file and is to be cut.
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
            raise HarnessError(f"{source}: split: {files[split]} is the {split} already; leave '{split}' out")
    wanted = [split for split in SPLITS if split in files or shares.get(split)]

    def make() -> dict[str, Array]:
        texts = {split: text_of(file) for split, file in files.items()}
        texts |= cut_text(texts["train"], shares, f"{source}: {files['train']}")
        return encoded(texts, options.level, options.min_count)

    told = f"level {options.level} min_count {options.min_count} split {sorted(shares.items())}"
    sums = (f"{split} {checksum(file)}" for split, file in sorted(files.items()))
    arrays = cached((READER, told, *sums), ("words", *wanted), make)
    splits = {split: np.asarray(arrays[split], dtype=np.int64) for split in wanted}
    return Text(splits, tuple(json.loads(arrays["words"].tobytes())))
