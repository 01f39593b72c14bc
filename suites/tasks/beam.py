"""Beam search over a sequence model; one beam is greedy search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


class Kept(Protocol):
    """What a layer keeps of the hypotheses so far."""

    def select(self, rows: Tensor) -> None:
        """Go on from these rows (N,)."""
        ...


class Decoder(Protocol):
    """What the search asks of a model: ``suites.models.transformer.Transformer`` is one."""

    def start(self, source: Tensor, beam: int) -> Sequence[Kept]:
        """What is kept for ``beam`` hypotheses of each source (B, S)."""
        ...

    def step(self, tokens: Tensor, place: int, caches: Sequence[Kept]) -> Tensor:
        """Logits (N, V) after the tokens (N,) at a place."""
        ...


@dataclass(slots=True)
class _Sentence:
    """One source's unfinished beams and what is finished: (score, tokens) without the end."""

    finished: list[tuple[float, list[int]]] = field(default_factory=list)
    done: bool = False


def search(
    model: Decoder, source: Tensor, *, beam: int, limit: int, penalty: float, end: int, padding: int
) -> list[list[int]]:
    """The best translation of each row.

    A hypothesis is scored by its log probability over (its length, the end included) to the power ``penalty``. A
    sentence is done when ``beam`` hypotheses are finished, or at the limit, where what is left is ended.

    Args:
        model: in evaluation mode.
        source: (B, S), ``padding`` after the shorter ones.
        beam: hypotheses kept a sentence.
        limit: largest number of tokens, the end included.
        penalty: exponent of the length.
        end: the token that ends a sentence, and begins the decoder's input.
        padding: token that is never chosen.

    Returns:
        Token numbers by sentence, without the end.
    """
    caches = model.start(source, beam)
    count = len(source)
    first = torch.arange(count, device=source.device)[:, None] * beam
    tokens = torch.full((count, beam, 1), end, dtype=torch.long, device=source.device)
    scores = torch.full((count, beam), -torch.inf, device=source.device)
    scores[:, 0] = 0.0
    sentences = [_Sentence() for _ in range(count)]
    for length in range(1, limit + 1):
        logits = model.step(tokens[:, :, -1].flatten(), length - 1, caches)
        steps = logits.float().log_softmax(-1).view(count, beam, -1)
        steps[..., padding] = -torch.inf
        if length == limit:
            only = torch.full_like(steps, -torch.inf)
            only[..., end] = steps[..., end]
            steps = only
        totals = (scores[..., None] + steps).flatten(1)
        # Twice the beam: enough to fill it again if all the best of them end.
        best, places = totals.topk(min(2 * beam, totals.shape[1]), dim=1)
        parents, tokens, scores = _advance(sentences, tokens, best, places, steps.shape[-1], length, penalty, end)
        if all(sentence.done for sentence in sentences):
            break
        for cache in caches:
            cache.select((first + parents).flatten())
    return [max(sentence.finished, key=lambda one: one[0])[1] for sentence in sentences]


def _advance(
    sentences: list[_Sentence],
    tokens: Tensor,
    best: Tensor,
    places: Tensor,
    words: int,
    length: int,
    penalty: float,
    end: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Finish hypotheses that end among the best ``beam`` and refill the beams with those that go on."""
    beam = tokens.shape[1]
    values, choices = best.tolist(), places.tolist()
    parents = torch.zeros(tokens.shape[:2], dtype=torch.long)
    words_next = torch.full(tokens.shape[:2], end, dtype=torch.long)
    scores = torch.full(tokens.shape[:2], -torch.inf)
    for row, sentence in enumerate(sentences):
        if sentence.done:
            continue
        kept = 0
        for rank, (value, choice) in enumerate(zip(values[row], choices[row], strict=True)):
            parent, word = divmod(choice, words)
            if word == end:
                if rank < beam and value > -torch.inf:
                    sentence.finished.append((value / length**penalty, tokens[row, parent, 1:].tolist()))
            elif kept < beam:
                parents[row, kept], words_next[row, kept], scores[row, kept] = parent, word, value
                kept += 1
        sentence.done = len(sentence.finished) >= beam or not kept
    device = tokens.device
    parents = parents.to(device)
    history = tokens.gather(1, parents[..., None].expand(-1, -1, tokens.shape[2]))
    return parents, torch.cat([history, words_next.to(device)[..., None]], dim=2), scores.to(device)
