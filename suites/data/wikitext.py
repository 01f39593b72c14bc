"""Running text in token files: a paragraph a line, words between blanks.

Merity et al. 2016, plain or gzipped.

Every line, even a blank one, ends with ``<eos>``, as in the language models that the papers build on. The published
sets have 103,227,021 (WikiText-103) and 2,088,628 (WikiText-2) training tokens counted so. So do the sentences of the
Penn Treebank as prepared by Mikolov et al. (2010): one a line, 10,000 words, numbers as ``N`` and rare words as
``<unk>`` in the files themselves; 929,589 training, 73,760 validation and 82,430 test tokens.
"""

from __future__ import annotations

import gzip
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import folder_of, missing, require_sum
from suites.data.cache import cached, checksum
from suites.data.types import Array, Labels, Text, vocabulary_of

READER = "tokens/1"
END = "<eos>"
SPLITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"train": ("train",), "validation": ("valid", "validation", "val"), "test": ("test",)}
)


def lines_of(path: Path) -> Iterator[list[str]]:
    """The words of each line, ``<eos>`` last."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for line in lines:
                yield [*line.split(), END]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path} cannot be read as tokens in UTF-8: {error}") from error


def encode(path: Path, numbers: Mapping[str, int]) -> tuple[Array, Labels]:
    """Token numbers of a file (0: unknown) and starts of its articles.

    An article starts at a heading of the first level, `` = Title = ``.
    """
    tokens, starts = array("i"), array("q")
    for words in lines_of(path):
        if len(words) > 3 and words[0] == words[-2] == "=" and words[1] != "=" and words[-3] != "=":
            starts.append(len(tokens))
        tokens.extend([numbers.get(word, 0) for word in words])
    if not len(tokens):
        raise HarnessError(f"{path} contains no tokens")
    return np.array(tokens, dtype=np.int32), np.array(starts, dtype=np.int64)


def read(files: Mapping[str, Path], source: str, min_count: int, sums: Mapping[str, str] | None = None) -> Text:
    """Read token files by split, with a cache; the vocabulary is that of ``train``."""
    digests = {}
    for split, path in files.items():
        if not path.is_file():
            raise missing(source, path)
        digests[split] = checksum(path)
        if sums:
            require_sum(source, path, digests[split], sums[split])

    def make() -> dict[str, Array]:
        words = vocabulary_of(chain.from_iterable(lines_of(files["train"])), min_count)
        numbers = {word: place for place, word in enumerate(words)}
        arrays: dict[str, Array] = {"words": np.frombuffer("\n".join(words).encode(), dtype=np.uint8)}
        for split, path in files.items():
            arrays[split], arrays[f"{split}_starts"] = encode(path, numbers)
        return arrays

    parts = (READER, f"min_count {min_count}", *(f"{split} {sha256}" for split, sha256 in sorted(digests.items())))
    names = ("words", *(name for split in files for name in (split, f"{split}_starts")))
    arrays = cached(parts, names, make)
    return Text(
        {split: np.asarray(arrays[split], dtype=np.int64) for split in files},
        tuple(arrays["words"].tobytes().decode().split("\n")),
        {split: np.asarray(arrays[f"{split}_starts"], dtype=np.int64) for split in files},
    )


def _find(folder: Path, split: str) -> Path:
    """Find the file of a split: ``wiki.train.tokens``, ``train.txt``, ``train.tokens.gz``, …"""
    for spelling in SPLITS[split]:
        for prefix in ("wiki.", "ptb.", ""):
            for suffix in (".tokens", ".txt"):
                for packed in ("", ".gz"):
                    path = folder / f"{prefix}{spelling}{suffix}{packed}"
                    if path.is_file():
                        return path
    return folder / f"{SPLITS[split][0]}.tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyOptions:
    """Words of the vocabulary."""

    min_count: int = option(1, "rarer words of the training text become <unk>", low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFolderOptions(VocabularyOptions):
    """Options of a user folder."""

    path: str = option(REQUIRED, "folder, absolute or below HARNESS_DATA")
    min_count: int = option(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutOptions(VocabularyOptions):
    """Options of WikiText-2 without its training text."""

    min_count: int = option(3)
    held_out: int = option(0, "largest number of tokens in validation and in test, each; 0: all", low=0)


def load_tokens(request: DataRequest[VocabularyOptions]) -> Text:
    """Read a user's folder at ``path`` with token files, or published WikiText."""
    folder = folder_of(request)
    files = {split: _find(folder, split) for split in SPLITS}
    return read(files, request.name, request.options.min_count)


def load_sentences(request: DataRequest[VocabularyOptions]) -> Text:
    """Read the Penn Treebank, without documents: its lines have no headings."""
    return replace(load_tokens(request), documents={})


def load_heldout(request: DataRequest[HeldOutOptions]) -> Text:
    """Read WikiText-2 without its training text; ``test`` trains.

    The halves of ``valid`` validate and test. Scores are not those of the published task.
    """
    files = {"train": "data:wikitext2/wiki.test.tokens.gz", "held": "data:wikitext2/wiki.valid.tokens.gz"}
    paths = {split: request.root / file.removeprefix("data:") for split, file in files.items()}
    sums = {split: request.files[file] for split, file in files.items()}
    text = read(paths, request.name, request.options.min_count, sums)
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
