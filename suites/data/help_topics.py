"""Python's help topics (``pydoc_data.topics``) as running text, and their paragraphs by topic.

Topics quote each other at length: otherwise 44 % of the validation's 8-grams would occur in training. So every
paragraph is kept once, in its first topic, *before* the split; whole topics then go to one split.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.documents import Documents, DocumentSplit
from suites.data.splitting import USUAL, drawn, shares_of
from suites.data.types import Text, vocabulary_of

MODULE = "pydoc_data.topics"
END = "<eop>"
TOPICS = ("assignment", "debugger", "formatstrings", "string-methods", "typesmapping")
LEAST_WORDS = 8  # shorter paragraphs are titles and examples
_PARAGRAPHS = re.compile(r"\n\s*\n")
_TOKENS = re.compile(r"\w+|([^\w\s])\1*")  # a repeated sign, such as a rule under a title, is one token
_RULE = re.compile(r"^([^\w\s])\1{2,}$")


def tokens_of(text: str) -> list[str]:
    """Lower-case words and signs."""
    return [match.group() for match in _TOKENS.finditer(text.lower())]


def distinct_paragraphs(topics: dict[str, str]) -> dict[str, list[list[str]]]:
    """Tokens of each new paragraph by topic, in alphabetical order of topics.

    Paragraphs with the same tokens are equal, whatever their line breaks. Rules under titles are dropped.
    """
    seen: set[tuple[str, ...]] = set()
    kept: dict[str, list[list[str]]] = {}
    for name in sorted(topics):
        for paragraph in _PARAGRAPHS.split(topics[name]):
            tokens = [token for token in tokens_of(paragraph) if not _RULE.match(token)]
            if tokens and tuple(tokens) not in seen:
                seen.add(tuple(tokens))
                kept.setdefault(name, []).append(tokens)
    return kept


def share_out(sizes: dict[str, int], order: Sequence[str], held_out: float) -> dict[str, list[str]]:
    """Assign topics to ``test`` and ``validation`` up to ``held_out`` tokens, then ``train``.

    ``held_out`` is a share. A topic larger than that share always trains, since it would fill a split.
    """
    wanted = held_out * sum(sizes.values())
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    filled = {"test": 0, "validation": 0}
    for name in order:
        place = next((split for split, tokens in filled.items() if tokens < wanted), "train")
        if sizes[name] > wanted:
            place = "train"
        splits[place].append(name)
        if place != "train":
            filled[place] += sizes[name]
    return splits


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpTopicsOptions:
    """Options of the data source ``help-topics``."""

    min_count: int = option(3, "rarer words of the training text become <unk>", low=1)
    held_out: float = option(0.12, "share of the tokens in validation and in test, each", low=0.01, high=0.4)


def load_topics(request: DataRequest[HelpTopicsOptions]) -> Text:
    """Split topics at random; take the vocabulary from the training text."""
    options = request.options
    try:
        topics: dict[str, str] = importlib.import_module(MODULE).topics
    except (ImportError, AttributeError) as error:
        raise HarnessError(f"help-topics: this Python lacks {MODULE}: {error}") from error
    paragraphs = distinct_paragraphs(topics)
    sizes = {name: sum(map(len, parts)) for name, parts in paragraphs.items()}
    names = sorted(paragraphs)
    order = [names[place] for place in request.streams.numpy("split", "help-topics").permutation(len(names))]
    chosen = share_out(sizes, order, options.held_out)
    if not all(chosen.values()):
        raise HarnessError(f"help-topics: {len(names)} topics cannot be divided with held_out {options.held_out}")
    # training topics in alphabetical order again: the reading order does not depend on the split
    documents = {split: [_document(paragraphs[name]) for name in sorted(part)] for split, part in chosen.items()}
    words = (word for document in documents["train"] for word in document)
    vocabulary = vocabulary_of(words, options.min_count)
    number = {word: place for place, word in enumerate(vocabulary)}
    texts, starts = {}, {}
    for split, part in documents.items():
        texts[split] = np.array([number.get(word, 0) for document in part for word in document], dtype=np.int64)
        starts[split] = np.cumsum([0, *(len(document) for document in part[:-1])]).astype(np.int64)
    return Text(texts, vocabulary, starts)


def _document(paragraphs: list[list[str]]) -> list[str]:
    return [token for paragraph in paragraphs for token in (*paragraph, END)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpParagraphsOptions:
    """Options of the data source ``help-paragraphs``."""

    split: Mapping[str, Any] = option(dict(USUAL), "shares or counts of random splits")


def load_paragraphs(request: DataRequest[HelpParagraphsOptions]) -> Documents:
    """Split paragraphs at random, evenly by topic; drop repeated ones."""
    try:
        topics: dict[str, str] = importlib.import_module(MODULE).topics
        paragraphs = [(text, label) for label, name in enumerate(TOPICS) for text in topics[name].split("\n\n")]
    except (ImportError, AttributeError, KeyError) as error:
        raise HarnessError(f"{request.name}: this Python lacks a topic of {MODULE}: {error}") from error
    kept: dict[tuple[str, ...], tuple[str, int]] = {}
    for text, label in paragraphs:
        tokens = tuple(tokens_of(text))
        if len(tokens) >= LEAST_WORDS:
            kept.setdefault(tokens, (text, label))
    texts = tuple(text for text, _ in kept.values())
    labels = np.array([label for _, label in kept.values()], dtype=np.int64)
    places = drawn(request, shares_of(request.options.split, request.name) or USUAL, labels, things="paragraphs")
    splits = {name: DocumentSplit(tuple(texts[at] for at in part), labels[part], part) for name, part in places.items()}
    return Documents(splits, TOPICS, MODULE)
