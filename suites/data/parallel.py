"""Sentence pairs in two languages, and their published layouts: one sentence a line, plain or gzipped.

Layouts: a folder of your own (``paralleltext``), Multi30k (Elliott et al. 2016), and what fairseq's
``prepare-iwslt14.sh`` and ``prepare-wmt14en2de.sh`` write: ``train``, ``valid``, ``test`` with the language as suffix,
tokenised by Moses and cut by subword-nmt, whose pieces end with ``@@`` where the word goes on (Sennrich et al. 2016).
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.registry.cards import DataCard
from harness.trial.options import REQUIRED, option
from suites.data.archive import missing

if TYPE_CHECKING:
    from harness.trial.contracts import DataRequest

Lines = tuple[str, ...]
MULTI30K = {
    split: {side: f"multi30k/{name}.{side}.gz" for side in ("de", "en")}
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test_2016_flickr"))
}
PREPARED = {"train": "train", "validation": "valid", "test": "test"}
IWSLT14, WMT14 = "iwslt14.tokenized.de-en", "wmt14_en_de"


@dataclass(frozen=True, slots=True)
class Parallel:
    """Sentence pairs by split.

    Attributes:
        splits: source and target lines by ``train``, ``validation``, ``test``; line n of one translates line n of the
            other.
        languages: of source and target.
        tokenised: whether words and signs stand between blanks already.
        joiner: what ends a piece whose word goes on, where words are cut already; else empty.
    """

    splits: Mapping[str, tuple[Lines, Lines]]
    languages: tuple[str, str]
    tokenised: bool
    joiner: str = ""

    def __post_init__(self) -> None:
        for split, (source, target) in self.splits.items():
            if len(source) != len(target):
                raise ValueError(f"{split}: {len(source)} source lines and {len(target)} target lines")


def lines_of(path: Path, source: str) -> Lines:
    """The lines of a file, without surrounding blanks.

    Raises:
        MissingDataError: the file is not there.
        HarnessError: it is damaged or not UTF-8.
    """
    if not path.is_file():
        raise missing(source, path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, EOFError, ValueError) as error:
        raise HarnessError(f"{path} cannot be read as lines in UTF-8: {error}") from error
    # Only line feeds end lines: str.splitlines would also cut at separators that occur inside sentences.
    return tuple(line.strip() for line in text.removesuffix("\n").split("\n"))


def pairs_of(files: tuple[Path, Path], source: str) -> tuple[Lines, Lines]:
    """Both sides of a split; pairs with an empty side are left out.

    Raises:
        HarnessError: the sides differ in their number of lines, or nothing is left.
    """
    left, right = (lines_of(path, source) for path in files)
    if len(left) != len(right):
        raise HarnessError(
            f"{source}: {files[0]} has {len(left)} lines and {files[1]} has {len(right)}: line n of one must translate "
            f"line n of the other"
        )
    kept = [(one, other) for one, other in zip(left, right, strict=True) if one and other]
    if not kept:
        raise HarnessError(f"{source}: {files[0]} and {files[1]} hold no sentence pair")
    sides = tuple(zip(*kept, strict=True))
    return sides[0], sides[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class GermanEnglishOptions:
    """Options of the published German–English sets."""

    source: str = option("de", "language that is translated", choices=("de", "en"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wmt14Options(GermanEnglishOptions):
    """Options of WMT14."""

    source: str = option("en")


@dataclass(frozen=True, slots=True, kw_only=True)
class Multi30kOptions(GermanEnglishOptions):
    """Options of Multi30k."""

    lowercase: bool = option(True, "lower-case both sides")
    train: int = option(0, "the first so many training pairs; 0: all", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelTextOptions:
    """Options of a user's own folder."""

    path: str = option(REQUIRED, "folder, absolute or below HARNESS_DATA")
    source: str = option("de", "suffix of the language that is translated")
    target: str = option("en", "suffix of the language that it is translated into")
    tokenised: bool = option(False, "words and signs stand between blanks already")
    subwords: bool = option(False, "words are cut already, pieces ending with @@ where the word goes on")
    lowercase: bool = option(False, "lower-case both sides")
    train: int = option(0, "the first so many training pairs; 0: all", low=0)


def load_multi30k(request: DataRequest[Multi30kOptions]) -> Parallel:
    """Multi30k, task 1; ``test`` is that of 2016. Raw sentences, lower-cased where ``lowercase``."""
    files = {split: {side: request.root / path for side, path in sides.items()} for split, sides in MULTI30K.items()}
    return _shortened(_load("multi30k", files, request.options.source), request.options)


def _load(
    name: str, files: Mapping[str, Mapping[str, Path]], first: str, tokenised: bool = False, joiner: str = ""
) -> Parallel:
    sides = next(iter(files.values()))
    if first not in sides:
        raise HarnessError(f"{name}: source '{first}' is not one of its languages; valid: {', '.join(sorted(sides))}")
    second = next(side for side in sides if side != first)
    splits = {split: pairs_of((paths[first], paths[second]), name) for split, paths in files.items()}
    return Parallel(splits, (first, second), tokenised, joiner)


def _shortened(text: Parallel, options: Multi30kOptions | ParallelTextOptions) -> Parallel:
    """The text in lower case and with the first pairs only, as asked."""
    splits = dict(text.splits)
    if options.lowercase:
        splits = {
            split: (tuple(map(str.lower, one)), tuple(map(str.lower, other))) for split, (one, other) in splits.items()
        }
    if options.train:
        splits["train"] = (splits["train"][0][: options.train], splits["train"][1][: options.train])
    return replace(text, splits=splits)


def load_iwslt14(request: DataRequest[GermanEnglishOptions]) -> Parallel:
    """IWSLT14 as fairseq's script leaves it."""
    return _prepared(request, "iwslt14-de-en", IWSLT14)


def load_wmt14(request: DataRequest[Wmt14Options]) -> Parallel:
    """WMT14 as fairseq's script leaves it with ``--icml17``."""
    return _prepared(request, "wmt14-en-de", WMT14)


def _prepared(request: DataRequest[GermanEnglishOptions], name: str, folder: str) -> Parallel:
    files = {
        split: {side: request.root / folder / f"{stem}.{side}" for side in ("de", "en")}
        for split, stem in PREPARED.items()
    }
    return _load(name, files, request.options.source, tokenised=True, joiner="@@")


def load_folder(request: DataRequest[ParallelTextOptions]) -> Parallel:
    """A user's own folder: ``train``, ``valid`` and ``test`` with a suffix a language, also ``.gz``."""
    options = request.options
    folder = request.root / options.path
    languages = (options.source, options.target)
    files = {split: {side: _spelt(folder / f"{stem}.{side}") for side in languages} for split, stem in PREPARED.items()}
    joiner = "@@" if options.subwords else ""
    text = _load("paralleltext", files, options.source, options.tokenised or bool(joiner), joiner)
    return _shortened(text, options)


def _spelt(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    return packed if packed.is_file() and not path.is_file() else path


def _published(
    name: str, target: str, folder: str, summary: str, script: str, size: str, options: type[Any]
) -> DataCard:
    return DataCard(
        name=name,
        target=target,
        summary=summary,
        origin="real",
        content="parallel-text",
        layout="paralleltext",
        home=f"https://github.com/facebookresearch/fairseq/blob/main/examples/translation/{script}",
        licence="see the corpora that the script fetches",
        version="1",
        size=size,
        files=tuple(f"data:{folder}/{stem}.{side}" for stem in PREPARED.values() for side in ("de", "en")),
        fetch=f"hand:run fairseq's {script} and put its {folder}/ into HARNESS_DATA",
        options=options,
    )


CARDS = (
    DataCard(
        name="paralleltext",
        target="load_folder",
        summary="sentence pairs of your own: train, valid and test files, one sentence a line, a suffix a language",
        origin="folder",
        content="parallel-text",
        layout="paralleltext",
        home="",
        licence="yours",
        version="1",
        fetch="hand:point path at a folder with train.de, train.en, valid.de, … (also .gz)",
        options=ParallelTextOptions,
    ),
    _published(
        "iwslt14-de-en",
        "load_iwslt14",
        IWSLT14,
        "160,000 pairs of TED talks, tokenised, lower-cased, cut into subwords",
        "prepare-iwslt14.sh",
        "60 MB",
        GermanEnglishOptions,
    ),
    _published(
        "wmt14-en-de",
        "load_wmt14",
        WMT14,
        "4 million pairs of parliament, web and news, tokenised and cut into subwords",
        "prepare-wmt14en2de.sh",
        "1.4 GB",
        Wmt14Options,
    ),
    DataCard(
        name="multi30k",
        target="load_multi30k",
        summary="29,000 captions of photographs in German and English",
        origin="real",
        content="parallel-text",
        layout="paralleltext",
        home="https://github.com/multi30k/dataset",
        licence="research use",
        version="1",
        size="1.6 MB",
        files=tuple(f"data:{path}" for sides in MULTI30K.values() for path in sides.values()),
        fetch="hand:put train.de.gz, val.de.gz, test_2016_flickr.de.gz and the same of .en into HARNESS_DATA/multi30k/",
        options=Multi30kOptions,
    ),
)
