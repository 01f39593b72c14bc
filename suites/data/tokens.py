"""Running text as token numbers: files by split, or one file cut in three.

Words are separated by blanks, and every line, even a blank one, ends with ``<eos>``, as in the language models that the
papers build on. The published sets (Merity et al. 2016) have 103,227,021 (WikiText-103) and 2,088,628 (WikiText-2)
training tokens counted so. So do the sentences of the Penn Treebank as prepared by Mikolov et al. (2010): one a line,
10,000 words; 929,589 training, 73,760 validation and 82,430 test tokens. A user's text may also be read by characters.
Cuts of one file are at line ends, without randomness: the beginning trains, the middle validates, the end tests, so
that no passage is on both sides.
"""

import gzip
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import folder_of, missing, require_sum, text_of
from suites.data.cache import cached, checksum
from suites.data.splitting import shares_of
from suites.data.types import Array, Labels, Text, vocabulary_of

READER = "tokens/2"
END = "<eos>"
SPLITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"train": ("train",), "validation": ("valid", "validation", "val"), "test": ("test",)}
)
USUAL: Mapping[str, float] = MappingProxyType({"validation": 0.1, "test": 0.1})
"""Default shares that are cut from the end of a single file."""
# Largest distance of a cut to the end of a line, as a share of the text.
FARTHEST = 0.02
Lines = Iterable[list[str]]
"""Tokens of each line."""


def lines_of(path: Path) -> Iterator[list[str]]:
    """The words of each line of a file, ``<eos>`` last."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for line in lines:
                yield [*line.split(), END]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path} cannot be read as tokens in UTF-8: {error}") from error


def encode(lines: Lines, numbers: Mapping[str, int]) -> tuple[Array, Labels]:
    """Token numbers of a text (0: unknown) and starts of its articles, at headings `` = Title = ``."""
    tokens, starts = array("i"), array("q")
    for words in lines:
        if len(words) > 3 and words[0] == words[-2] == "=" and words[1] != "=" and words[-3] != "=":
            starts.append(len(tokens))
        tokens.extend([numbers.get(word, 0) for word in words])
    return np.array(tokens, dtype=np.int32), np.array(starts, dtype=np.int64)


def read(parts: tuple[str, ...], splits: Iterable[str], lines: Callable[[str], Lines], min_count: int) -> Text:
    """Encode a text, with a cache; the vocabulary is that of ``train``.

    Args:
        parts: dependencies of the text, for the cache.
        splits: names of the splits.
        lines: returns the tokens of a split by line; called for ``train`` twice.
        min_count: least count of a word of the vocabulary.
    """

    def make() -> dict[str, Array]:
        words = vocabulary_of(chain.from_iterable(lines("train")), min_count)
        numbers = {word: place for place, word in enumerate(words)}
        arrays: dict[str, Array] = {"words": np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)}
        for split in splits:
            arrays[split], arrays[f"{split}_starts"] = encode(lines(split), numbers)
        return arrays

    names = ("words", *(name for split in splits for name in (split, f"{split}_starts")))
    arrays = cached((READER, f"min_count {min_count}", *parts), names, make)
    return Text(
        {split: np.asarray(arrays[split], dtype=np.int64) for split in splits},
        tuple(json.loads(arrays["words"].tobytes())),
        {split: np.asarray(arrays[f"{split}_starts"], dtype=np.int64) for split in splits},
    )


def read_files(files: Mapping[str, Path], source: str, min_count: int, sums: Mapping[str, str] | None = None) -> Text:
    """Read token files by split; ``sums`` are their checksums, if stated."""
    digests = {}
    for split, path in files.items():
        if not path.is_file():
            raise missing(source, path)
        digests[split] = checksum(path)
        if sums:
            require_sum(source, path, digests[split], sums[split])

    def lines(split: str) -> Iterator[list[str]]:
        empty = True
        for words in lines_of(files[split]):
            empty = False
            yield words
        if empty:
            raise HarnessError(f"{files[split]} contains no tokens")

    return read(tuple(f"{split} {sha256}" for split, sha256 in sorted(digests.items())), files, lines, min_count)


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    """Find ``wiki.train.tokens``, ``train.txt``, ``train.tokens.gz``, …"""
    for name in names:
        for prefix in ("wiki.", "ptb.", ""):
            for suffix in (".tokens", ".txt", ".tokens.gz", ".txt.gz"):
                if (file := folder / f"{prefix}{name}{suffix}").is_file():
                    return file
    return None


def find_texts(path: Path, source: str, cut: Iterable[str]) -> dict[str, Path]:
    """Find files by split, except those in ``cut``; a single file or a folder's only text is ``train``."""
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


def _text(file: Path, source: str) -> str:
    return text_of(file, source).replace("\r\n", "\n").replace("\r", "\n")


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


def tokens_of(text: str, level: str) -> Iterator[list[str]]:
    """Characters of a text, or its words by line, ``<eos>`` last."""
    if level == "characters":
        yield list(text)
        return
    for line in text.removesuffix("\n").split("\n"):
        yield [*line.split(), END]


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyOptions:
    """Words of the vocabulary."""

    min_count: int = option(1, "rarer words of the training text become <unk>", low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTextOptions(VocabularyOptions):
    """Options of the layout ``tokens``."""

    path: str = option(REQUIRED, "folder, absolute or below HARNESS_DATA")
    min_count: int = option(3)
    level: str = option("words", "kind of token; words are separated by blanks", choices=("words", "characters"))
    split: Mapping[str, Any] = option({}, "{validation: 0.1, test: 0.1}: shares or numbers of characters, from the end")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutOptions(VocabularyOptions):
    """Options of WikiText-2 without its training text."""

    min_count: int = option(3)
    held_out: int = option(0, "largest number of tokens in validation and in test, each; 0: all", low=0)


def load_tokens(request: DataRequest[VocabularyOptions]) -> Text:
    """Read published WikiText."""
    folder = folder_of(request)
    files = {split: _first(folder, names) or folder / f"{names[0]}.tokens" for split, names in SPLITS.items()}
    return read_files(files, request.name, request.options.min_count)


def load_sentences(request: DataRequest[VocabularyOptions]) -> Text:
    """Read the Penn Treebank, without documents: its lines have no headings."""
    return replace(load_tokens(request), documents={})


def load_heldout(request: DataRequest[HeldOutOptions]) -> Text:
    """Read WikiText-2 without its training text; ``test`` trains, the halves of ``valid`` validate and test."""
    files = {"train": "data:wikitext2/wiki.test.tokens.gz", "held": "data:wikitext2/wiki.valid.tokens.gz"}
    paths = {split: request.root / file.removeprefix("data:") for split, file in files.items()}
    sums = {split: request.files[file] for split, file in files.items()}
    text = read_files(paths, request.name, request.options.min_count, sums)
    held, starts = text.splits["held"], text.documents["held"]
    # at the article nearest to the middle, so that no article is on both sides
    middle = int(starts[np.abs(starts - len(held) / 2).argmin()]) if len(starts) else len(held) // 2
    most = request.options.held_out or len(held)
    splits = {"train": text.splits["train"], "validation": held[:middle][:most], "test": held[middle:][:most]}
    documents = {
        "train": text.documents["train"],
        "validation": starts[starts < min(middle, most)],
        "test": starts[(starts >= middle) & (starts < middle + most)] - middle,
    }
    return Text(splits, text.vocabulary, documents)


def load_text(request: DataRequest[OwnTextOptions]) -> Text:
    """Read a user's file or folder at ``path``."""
    options, source = request.options, request.name
    shares = shares_of(options.split, source)
    files = find_texts(request.root / options.path, source, [name for name, share in shares.items() if share])
    if options.level == "words" and len(files) == len(SPLITS) and not shares:
        return read_files(files, source, options.min_count)
    if len(files) == 1 and not shares:
        shares = dict(USUAL)
    for split in files:
        if shares.get(split):
            raise HarnessError(f"{source}: split: {files[split]} is the {split} already; remove '{split}'")
    wanted = [split for split in SPLITS if split in files or shares.get(split)]

    @cache
    def texts() -> dict[str, str]:
        whole = {split: _text(file, source) for split, file in files.items()}
        return whole | cut_text(whole["train"], shares, f"{source}: {files['train']}")

    parameters = f"level {options.level} split {sorted(shares.items())}"
    sums = (f"{split} {checksum(file)}" for split, file in sorted(files.items()))
    text = read((parameters, *sums), wanted, lambda split: tokens_of(texts()[split], options.level), options.min_count)
    return replace(text, documents={})
