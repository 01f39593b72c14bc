"""Joint vocabularies of source and target: byte pairs or pieces.

Byte-pair encoding is trained on the training text; pieces are taken from it. ``PADDING``, ``END`` and ``UNKNOWN``
are never text; lines are encoded without an end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

PADDING, END, UNKNOWN = 0, 1, 2
SPECIAL = ("<pad>", "</s>", "<unk>")


class BytePairs:
    """Byte-pair encoding (Sennrich et al. 2016) of words with leading blanks.

    Decoding restores the text. Trained on the text of both languages, with at most ``merges`` merged pairs.
    """

    def __init__(self, lines: Iterable[str], merges: int) -> None:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        texts = list(lines)
        letters = sorted({letter for line in texts for letter in line} - {" "} | {"▁"})
        self.tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN]))
        self.tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        self.tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
        size, special = len(SPECIAL) + len(letters) + merges, list(SPECIAL)
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, initial_alphabet=letters, show_progress=False
        )
        self.tokenizer.train_from_iterator(texts, trainer)

    def __len__(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Token numbers by line."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(lines))]

    def decode(self, tokens: Sequence[int]) -> str:
        """Decode a line; special tokens other than the unknown one are dropped."""
        shown = [token for token in tokens if token not in (PADDING, END)]
        return str(self.tokenizer.decode(shown, skip_special_tokens=False)).strip()


class Pieces:
    """Blank-separated pieces of both languages' training text, most frequent first.

    Pieces that end with ``joiner``, such as ``@@``, continue in the next piece; it is empty if pieces are words.
    """

    def __init__(self, lines: Iterable[str], joiner: str) -> None:
        counts = Counter(piece for line in lines for piece in line.split())
        self.pieces = (*SPECIAL, *sorted(counts, key=lambda piece: (-counts[piece], piece)))
        self.numbers = {piece: number for number, piece in enumerate(self.pieces)}
        self.joiner = joiner

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Token numbers by line; pieces outside the training text are unknown."""
        return [[self.numbers.get(piece, UNKNOWN) for piece in line.split()] for line in lines]

    def decode(self, tokens: Sequence[int]) -> str:
        """The line with its pieces joined to words."""
        text = " ".join(self.pieces[token] for token in tokens if token not in (PADDING, END))
        return joined(text, self.joiner)


def joined(line: str, joiner: str) -> str:
    """Join pieces that end with ``joiner`` to the next; unchanged without joiner."""
    return f"{line} ".replace(f"{joiner} ", "").strip() if joiner else line
