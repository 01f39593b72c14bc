"""Absolute claims: is the metric equivalent to the published value? TOST, at the paper's setting only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness import stats
from harness.judge.evidence import Evidence
from harness.judge.frame import Block, Frame
from harness.judge.verdicts import decide_absolute
from harness.vocabulary import UNFINISHED


@dataclass(frozen=True, slots=True)
class AbsoluteFound:
    """Scores of one arm by seed, and the test against the published value."""

    block: Block
    scores: dict[int, float]
    margin: float
    margin_from: str
    p: float | None
    low: float
    high: float
    stopped: tuple[str, str] | None
    missing: int
    failed: int
    diverged: int

    @property
    def difference(self) -> float:
        """Mean minus published value; NaN without scores."""
        return math.nan if not self.scores else sum(self.scores.values()) / len(self.scores) - self._target

    _target: float = 0.0


def last_digit(value: float) -> float:
    """One unit of the last printed digit: 0.01 for 71.96, 0.1 for 30.1, 1 for 82."""
    text = f"{value!r}".partition("e")[0]
    decimals = len(text.partition(".")[2].rstrip("0")) if "." in text else 0
    return 10.0**-decimals


def examine_absolute(frame: Frame, evidence: Evidence) -> list[AbsoluteFound]:
    """One entry a benchmark."""
    return [_examine(frame, block, evidence) for block in frame.blocks]


def _examine(frame: Frame, block: Block, evidence: Evidence) -> AbsoluteFound:
    target = float(frame.target or 0.0)
    cell = block.cells.get(block.chain[0], {})
    records = {seed: evidence[trial] for seed, trial in sorted(cell.items()) if trial in evidence}
    done = {seed: one.value(block.metric, block.split) for seed, one in records.items() if one.status == "done"}
    scores = {seed: value for seed, value in done.items() if value is not None}
    failed = sum(one.status in UNFINISHED for one in records.values())
    diverged = sum(one.status == "diverged" for one in records.values())
    margin, origin = _margin(frame, target, list(scores.values()))
    found = stats.equivalence(list(scores.values()), target, margin, frame.alpha)
    interval = stats.paired_t([value - target for value in scores.values()], frame.alpha)
    stopped = _stopped(frame, block, len(cell), len(scores), failed, diverged)
    return AbsoluteFound(
        block, scores, margin, origin, None if stopped else found.p, interval.low, interval.high, stopped,
        len(cell) - len(scores) - failed - diverged, failed, diverged, target,
    )  # fmt: skip


def _margin(frame: Frame, target: float, scores: list[float]) -> tuple[float, str]:
    """The suite's margin, else the larger of five units of the last printed digit and two sd over seeds."""
    if frame.margin is not None:
        return frame.margin, "suite"
    fixed = 5 * last_digit(target)
    spread = 2 * math.sqrt(sum((one - sum(scores) / len(scores)) ** 2 for one in scores) / (len(scores) - 1)) if (
        len(scores) > 1
    ) else 0.0  # fmt: skip
    # Two sd of the very seeds that are tested raise the level from 5 to about 13 %; reports say where it is from.
    return (spread, "two sd of these seeds") if spread > fixed else (fixed, "five units of the last printed digit")


def _stopped(
    frame: Frame, block: Block, planned: int, scored: int, failed: int, diverged: int
) -> tuple[str, str] | None:
    if frame.is_stand_in:
        return "not comparable", "a published value cannot be compared on a stand-in"
    if frame.sequential:
        return "not comparable", "equivalence is tested with a fixed number of seeds, not in a sequential run"
    if not planned:
        return "not run", f"this plan has no trials of {block.chain[0]} on {block.benchmark}"
    if diverged:
        return "invalid", f"{diverged} trials diverged"
    if failed > frame.tolerated_failures * planned:
        return "invalid", f"{failed} of {planned} trials failed"
    return None if scored else ("not run", f"no trials of {block.benchmark} are stored")


def verdict_of(found: AbsoluteFound, adjusted_p: float, alpha: float) -> str:
    """The word for one benchmark."""
    if found.stopped is not None or found.p is None:
        return found.stopped[0] if found.stopped else "invalid"
    return decide_absolute(found.p, found.low, found.high, found.margin, adjusted_p, alpha)
