"""Sentence pairs in two languages: one sentence a line, plain or gzipped.

Layouts: a user folder (``paralleltext``), Multi30k (Elliott et al. 2016), and the output of fairseq's
``prepare-iwslt14.sh`` and ``prepare-wmt14en2de.sh`` write: ``train``, ``valid``, ``test`` with the language as suffix,
tokenised by Moses and cut by subword-nmt, whose pieces end with ``@@`` inside a word (Sennrich et al. 2016).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import folder_of, text_of

Lines = tuple[str, ...]
PREPARED = {"train": "train", "validation": "valid", "test": "test"}
MULTI30K = {"train": "train", "validation": "val", "test": "test_2016_flickr"}


@dataclass(frozen=True, slots=True)
class Parallel:
    """Sentence pairs by split.

    Attributes:
        splits: source and target lines by ``train``, ``validation``, ``test``; line n of one translates line n of the
            other.
        languages: of source and target.
        tokenised: true if words and signs are separated by blanks.
        joiner: the end of a piece inside a word, if words are cut; else empty.
    """

    splits: Mapping[str, tuple[Lines, Lines]]
    languages: tuple[str, str]
    tokenised: bool
    joiner: str = ""

    def __post_init__(self) -> None:
        for split, (source, target) in self.splits.items():
            if len(source) != len(target):
                raise ValueError(f"{split}: {len(source)} source lines and {len(target)} target lines")


def pairs_of(files: tuple[Path, Path], source: str) -> tuple[Lines, Lines]:
    """Read both sides of a split, dropping pairs with an empty side."""
    # Only line feeds end lines: str.splitlines would also cut at separators inside sentences.
    texts = (text_of(path, source).removesuffix("\n").split("\n") for path in files)
    left, right = ([line.strip() for line in lines] for lines in texts)
    if len(left) != len(right):
        raise HarnessError(
            f"{source}: {files[0]} has {len(left)} lines and {files[1]} has {len(right)}: line n of one must translate "
            f"line n of the other"
        )
    kept = [(ours, theirs) for ours, theirs in zip(left, right, strict=True) if ours and theirs]
    if not kept:
        raise HarnessError(f"{source}: {files[0]} and {files[1]} have no sentence pair")
    sides = tuple(zip(*kept, strict=True))
    return sides[0], sides[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class GermanEnglishOptions:
    """Options of the published German–English sets."""

    source: str = option("de", "source language", choices=("de", "en"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Multi30kOptions(GermanEnglishOptions):
    """Options of Multi30k."""

    lowercase: bool = option(True, "lower-case both sides")
    train: int = option(0, "number of first training pairs; 0: all", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelTextOptions:
    """Options of a user folder."""

    path: str = option(REQUIRED, "folder, absolute or below HARNESS_DATA")
    source: str = option("de", "suffix of the source language")
    target: str = option("en", "suffix of the target language")
    tokenised: bool = option(False, "words and signs are separated by blanks")
    subwords: bool = option(False, "words are cut into pieces, ending with @@ inside a word")
    lowercase: bool = option(False, "lower-case both sides")
    train: int = option(0, "number of first training pairs; 0: all", low=0)


def load_multi30k(request: DataRequest[Multi30kOptions]) -> Parallel:
    """Read Multi30k, task 1, with the test of 2016, perhaps lower-cased."""
    return _shortened(_load(request, MULTI30K, ("de", "en")), request.options)


def load_prepared(request: DataRequest[GermanEnglishOptions]) -> Parallel:
    """Read IWSLT14, or WMT14 with ``--icml17``, as fairseq's script writes it."""
    return replace(_load(request, PREPARED, ("de", "en")), tokenised=True, joiner="@@")


def load_folder(request: DataRequest[ParallelTextOptions]) -> Parallel:
    """Read a user folder: ``train``, ``valid`` and ``test`` with a suffix a language."""
    options = request.options
    text = _load(request, PREPARED, (options.source, options.target))
    joiner = "@@" if options.subwords else ""
    return _shortened(replace(text, tokenised=options.tokenised or bool(joiner), joiner=joiner), options)


def _load(
    request: DataRequest[GermanEnglishOptions] | DataRequest[Multi30kOptions] | DataRequest[ParallelTextOptions],
    stems: Mapping[str, str],
    languages: tuple[str, str],
) -> Parallel:
    """Read the files ``<stem>.<language>`` of each split, from ``options.source``."""
    folder, name, first = folder_of(request), request.name, request.options.source
    if first not in languages:
        valid = ", ".join(sorted(languages))
        raise HarnessError(f"{name}: source '{first}' is not one of its languages; valid: {valid}")
    second = next(side for side in languages if side != first)
    splits = {
        split: pairs_of((_spelt(folder / f"{stem}.{first}"), _spelt(folder / f"{stem}.{second}")), name)
        for split, stem in stems.items()
    }
    return Parallel(splits, (first, second), tokenised=False)


def _spelt(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    return packed if packed.is_file() and not path.is_file() else path


def _shortened(text: Parallel, options: Multi30kOptions | ParallelTextOptions) -> Parallel:
    """Lower-case the text and keep its first pairs, as the options say."""
    splits = dict(text.splits)
    if options.lowercase:
        splits = {
            split: (tuple(map(str.lower, ours)), tuple(map(str.lower, theirs)))
            for split, (ours, theirs) in splits.items()
        }
    if options.train:
        splits["train"] = (splits["train"][0][: options.train], splits["train"][1][: options.train])
    return replace(text, splits=splits)
