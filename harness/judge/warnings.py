"""Warnings shown with a verdict."""

from collections.abc import Iterator, Mapping, Sequence

from harness.judge.design import ClaimDesign
from harness.judge.evidence import trials_in_words
from harness.judge.pairs import Pairs
from harness.judge.units import ExaminedBlock, Unit

FEWEST = 3
"""Seeds from which on equal scores are noticed."""


def warnings_beside(design: ClaimDesign, units: Sequence[Unit]) -> tuple[str, ...]:
    """Sentences on constant scores, failed trials, and judging as not worse."""
    blocks = [examined for unit in units for examined in unit.blocks]
    message = [text for examined in blocks for text in _of_block(examined)]
    estimand = design.estimand
    delta, margin = estimand.delta, estimand.margin
    if design.question.scope == "no_worse" and delta is not None and margin is not None and delta < margin:
        size = f"the published difference is {delta:g} {estimand.unit}"
        message.append(f"judged as not worse by more than {margin:g}: {size}")
    return tuple(dict.fromkeys(message))


def _of_block(examined: ExaminedBlock) -> Iterator[str]:
    block = examined.block
    if block.stated:
        yield block.stated
    for (upper, lower), pairs in zip(block.comparisons, examined.pairs, strict=True):
        for arm, scores in ((upper, pairs.method), (lower, pairs.baseline)):
            if equal_at_every_seed(scores):
                value = next(iter(scores.values()))
                yield (
                    f"{arm} gives {block.metric} {value:g} at each of {len(scores)} seeds of {block.benchmark}: "
                    "does it use its seed?"
                )
        yield from _failed(pairs)


def equal_at_every_seed(scores: Mapping[int, float]) -> bool:
    """True if three seeds or more gave one number."""
    return len(scores) >= FEWEST and len(set(scores.values())) == 1


def _failed(pairs: Pairs) -> Iterator[str]:
    for each in pairs.arms:
        if each.failed:
            counted = f"{each.failed} of {trials_in_words(each.planned)} of {each.arm} failed"
            yield f"{counted}; p counts those of the favoured arm as lost"
        yield from each.unscored
