"""Penn Treebank as plain text, the files of Mikolov et al. (2010): one sentence a line, 10,000 words.

Sentences end with ``<eos>``; numbers are ``N`` and rare words ``<unk>`` in the files themselves. Counted with ``<eos>``
the published sets hold 929,589 training, 73,760 validation and 82,430 test tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.registry.cards import DataCard
from suites.data.types import Text
from suites.data.wikitext import VocabularyOptions, read

if TYPE_CHECKING:
    from harness.trial.contracts import DataRequest

FOLDER = "ptb"
FILES = {"train": "ptb.train.txt", "validation": "ptb.valid.txt", "test": "ptb.test.txt"}


def load(request: DataRequest[VocabularyOptions]) -> Text:
    """The three files below ``HARNESS_DATA/ptb``; the vocabulary is that of the training text.

    Raises:
        MissingDataError: a file is not there.
        HarnessError: a damaged file.
    """
    files = {split: request.root / FOLDER / name for split, name in FILES.items()}
    text = read(files, "ptb", request.options.min_count)
    # Headings of articles are a matter of WikiText; here nothing is known of documents.
    return Text(text.splits, text.vocabulary)


CARD = DataCard(
    name="ptb",
    target="load",
    summary="930,000 words of the Wall Street Journal as prepared by Mikolov, one sentence a line",
    origin="real",
    content="text",
    layout="tokens",
    home="https://catalog.ldc.upenn.edu/LDC99T42",
    licence="LDC User Agreement",
    version="1",
    size="6 MB",
    files=tuple(f"data:{FOLDER}/{name}" for name in FILES.values()),
    fetch=f"hand:put {', '.join(FILES.values())} (simple-examples/data) into HARNESS_DATA/{FOLDER}/",
    options=VocabularyOptions,
)
