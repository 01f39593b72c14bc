"""Sentences of a translation: joint vocabularies (byte pairs or pieces) and beam search.

Byte-pair encoding is trained on the training text; pieces are taken from it. ``PADDING``, ``END`` and ``UNKNOWN``
are never text; lines are encoded without an end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from suites.models.transformer import Transformer

PADDING, END, UNKNOWN = 0, 1, 2
SPECIAL = ("<pad>", "</s>", "<unk>")


class BytePairs:
    """Byte-pair encoding (Sennrich et al. 2016) of words with leading blanks, of at most ``merges`` pairs."""

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
    """Blank-separated pieces, most frequent first; those that end with ``joiner`` continue in the next."""

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


@dataclass(frozen=True, slots=True)
class BeamSearch:
    """Search for translations with ``beam`` hypotheses a sentence.

    A hypothesis' log probability is divided by its length to the power ``penalty``. The token ``end`` ends a sentence
    and begins the decoder's input; ``padding`` is never chosen.
    """

    beam: int
    penalty: float
    end: int
    padding: int

    def search(self, model: Transformer, source: Tensor, limit: int) -> list[list[int]]:
        """Return the best translation of each row (B, S), padded, of at most ``limit`` tokens, without the end."""
        caches = model.start(source, self.beam)
        first = torch.arange(len(source), device=source.device)[:, None] * self.beam
        scores = torch.full((len(source), self.beam), -torch.inf, device=source.device)
        scores[:, 0] = 0.0  # one empty hypothesis a sentence
        tokens = torch.full((*scores.shape, 1), self.end, dtype=torch.long, device=source.device)
        beams = _Beams(tokens, scores, [[] for _ in source], [False] * len(source))
        for length in range(1, limit + 1):
            logits = model.step(beams.tokens[:, :, -1].flatten(), length - 1, caches)
            parents = self._advance(beams, self._allowed(logits, len(source), last=length == limit), length)
            if all(beams.done):
                break
            for cache in caches:
                cache.select((first + parents).flatten())
        return [max(finished, key=lambda hypothesis: hypothesis[0])[1] for finished in beams.finished]

    def _allowed(self, logits: Tensor, count: int, *, last: bool) -> Tensor:
        """Log probabilities (count, beam, V): −∞ for padding and, at the limit, for all but the end."""
        steps = logits.float().log_softmax(-1).view(count, self.beam, -1)
        steps[..., self.padding] = -torch.inf
        if last:
            steps[..., torch.arange(steps.shape[-1], device=steps.device) != self.end] = -torch.inf
        return steps

    def _advance(self, beams: _Beams, steps: Tensor, length: int) -> Tensor:
        """Finish ended hypotheses among the best, refill the beams; return parents (B, beam)."""
        totals = (beams.scores[..., None] + steps).flatten(1)
        # twice the beam: enough to refill it if all the best hypotheses end
        best, places = totals.topk(min(2 * self.beam, totals.shape[1]), dim=1)
        values, choices = best.tolist(), places.tolist()
        shape, device = beams.scores.shape, beams.scores.device
        parents = torch.zeros(shape, dtype=torch.long)
        words = torch.full(shape, self.end, dtype=torch.long)
        scores = torch.full(shape, -torch.inf)
        for row in range(len(values)):
            if beams.done[row]:
                continue
            kept = 0
            for rank, (value, choice) in enumerate(zip(values[row], choices[row], strict=True)):
                parent, word = divmod(choice, steps.shape[-1])
                if word == self.end:
                    if rank < self.beam and value > -torch.inf:
                        tokens = beams.tokens[row, parent, 1:].tolist()
                        beams.finished[row].append((value / length**self.penalty, tokens))
                elif kept < self.beam:
                    parents[row, kept], words[row, kept], scores[row, kept] = parent, word, value
                    kept += 1
            beams.done[row] = len(beams.finished[row]) >= self.beam or not kept
        parents = parents.to(device)
        history = beams.tokens.gather(1, parents[..., None].expand(-1, -1, beams.tokens.shape[2]))
        beams.tokens = torch.cat([history, words.to(device)[..., None]], dim=2)
        beams.scores = scores.to(device)
        return parents


@dataclass(slots=True)
class _Beams:
    """Open and finished hypotheses of B sentences."""

    tokens: Tensor
    scores: Tensor
    finished: list[list[tuple[float, list[int]]]]
    done: list[bool]
