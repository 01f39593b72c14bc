"""Paragraphs of Python's help (``pydoc_data.topics``), classified by topic."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.documents import Documents, DocumentSplit
from suites.data.help_topics import MODULE, tokens_of
from suites.data.splitting import USUAL, drawn, shares_of

TOPICS = ("assignment", "debugger", "formatstrings", "string-methods", "typesmapping")
LEAST_WORDS = 8  # shorter paragraphs are titles and examples


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpParagraphsOptions:
    """Options of the data source ``help-paragraphs``."""

    split: Mapping[str, Any] = option(dict(USUAL), "shares or counts of random splits")


def load(request: DataRequest[HelpParagraphsOptions]) -> Documents:
    """Split paragraphs at random, evenly by topic; drop repeated ones.

    Raises:
        HarnessError: this Python lacks one of the topics, or the split is impossible.
    """
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
