"""The words that cross the stages: scales, statuses, splits, roles, verdicts; each once, with what it means.

Every word is a string, so that it stands in the database, in JSON and on a page as it is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

Kind = Literal["method", "task", "data", "model"]
"""Kinds of registered things."""

SlotName = Literal["optimizer", "norm", "objective", "adaptation"]
"""The slots that methods fill."""
SLOTS: tuple[SlotName, ...] = ("optimizer", "norm", "objective", "adaptation")


class Scale(StrEnum):
    """Size of a benchmark.

    ``smoke`` is ``mini`` with one seed and a few steps; files never contain it.
    """

    SMOKE = "smoke"
    MINI = "mini"
    SMALL = "small"
    PAPER = "paper"


WRITTEN_SCALES = (Scale.PAPER, Scale.SMALL, Scale.MINI)
"""The scales that benchmark files have blocks for, from the published one down."""


class Status(StrEnum):
    """State of a trial."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    DIVERGED = "diverged"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """True for a result: the first stored one stays."""
        return self in FINAL


FINAL = frozenset({Status.DONE, Status.DIVERGED})
"""Results; a trial that has one is never run again."""
UNFINISHED = frozenset({Status.FAILED, Status.TIMEOUT, Status.CANCELLED})
"""Outcomes without a result: a later outcome replaces them."""


class Split(StrEnum):
    """Part of the data."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Protocol(StrEnum):
    """The trials by which a claim is judged.

    They use the recipe's hyper-parameters (``published``) or those that each arm chose at equal budgets (``tuned``), or
    are imported; ``BESIDE`` occurs in databases of version 0.1 alone.
    """

    PUBLISHED = "published"
    TUNED = "tuned"
    IMPORTED = "imported"
    BESIDE = "imported beside own"


class Role(StrEnum):
    """Role of an arm in its suite."""

    METHOD = "method"
    BASELINE = "baseline"
    ABLATION = "ablation"


class Tone(StrEnum):
    """Colour and symbol of a verdict."""

    HOLDS = "holds"
    PART = "part"
    OPEN = "open"
    NULL = "null"
    AGAINST = "against"
    IDLE = "idle"
    VOID = "void"


_ABOVE = "the adjusted p is at most α and the whole interval lies on the claimed side"
_EXCLUDED = "a gain of the smallest size of interest is excluded; a loss is not"
_OPEN = "the trials decide neither way"
_OTHER = "the whole interval lies on the other side"


class Verdict(StrEnum):
    """Verdicts, in the order in which they are counted.

    Attributes:
        tone: colour and symbol.
        rank: favourability, least first: a claim on several benchmarks is as good as its worst.
        decisive: True if it states an effect, so that a distribution-sensitive test withdraws it.
        meaning: one clause for people.
    """

    tone: Tone
    rank: int
    decisive: bool
    meaning: str

    def __new__(cls, word: str, tone: Tone, rank: int, meaning: str, decisive: bool = False) -> Verdict:
        """A word with what is to be known of it."""
        verdict = str.__new__(cls, word)
        verdict._value_ = word
        verdict.tone, verdict.rank, verdict.meaning, verdict.decisive = tone, rank, meaning, decisive
        return verdict

    REPRODUCED = "reproduced", Tone.HOLDS, 150, f"{_ABOVE}; the estimate reaches κ times the published size", True
    CONFIRMED = "direction confirmed", Tone.HOLDS, 140, f"{_ABOVE}; the size is not judged here", True
    HOLDS = "holds", Tone.HOLDS, 160, "both sides were computed and agree within the tolerance"
    NOT_WORSE = "not worse", Tone.PART, 135, "a loss of the margin or more is excluded; a gain is not shown", True
    DIRECTION_ONLY = "direction only", Tone.PART, 130, f"{_ABOVE}; the estimate is below κ of the published size", True
    INCONCLUSIVE = "inconclusive", Tone.OPEN, 90, _OPEN
    CONDITIONAL = "conditional", Tone.VOID, 85, "one search chose the hyper-parameters: its effect decides nothing"
    NOT_REPRODUCED = "not reproduced", Tone.NULL, 70, _EXCLUDED
    NO_EFFECT = "no gain above the SESOI", Tone.NULL, 80, _EXCLUDED
    CONTRADICTED = "contradicted", Tone.AGAINST, 50, _OTHER, True
    CONTRADICTED_BY_LESS = (
        "contradicted, by less than the margin",
        Tone.AGAINST,
        55,
        "the effect lies on the other side; a loss of the margin or more is excluded",
        True,
    )
    REVERSED = "direction reversed", Tone.AGAINST, 60, _OTHER, True
    FAILS = "fails", Tone.AGAINST, 40, "both sides were computed and disagree beyond the tolerance"
    INACTIVE = ("inactive", Tone.IDLE, 30, "the claim's mechanism did not act: its effect is shown and decides nothing")
    WEAK_BASELINE = "weak baseline", Tone.VOID, 10, "the baseline is below its threshold"
    INVALID = "invalid", Tone.VOID, 0, "the trials do not allow a verdict"
    NOT_COMPARABLE = "not comparable", Tone.VOID, 110, "a number of another setting"
    REPORTED = "reported", Tone.VOID, 120, "known from the authors' files alone; listed, never verified"
    NOT_RUN = "not run", Tone.VOID, 20, "no trials, for the reason given"

    @classmethod
    def of(cls, words: str) -> Verdict:
        """The verdict of a text, without its bracket: ``inconclusive (distribution-sensitive)`` is inconclusive.

        Raises:
            ValueError: the text names no verdict.
        """
        word = present_text(words).partition(" (")[0].strip()
        for verdict in cls:
            if verdict == word:
                return verdict
        raise ValueError(f"unknown verdict '{words}'")


FORMER_NAMES = {
    "undecided": Verdict.INCONCLUSIVE.value,
    "no effect worth having": Verdict.NO_EFFECT.value,
    "negligible effect": Verdict.NO_EFFECT.value,
}


def present_text(verdict: str) -> str:
    """Replace the names that verdicts on stand-ins had up to schema 8."""
    for former, present in FORMER_NAMES.items():
        verdict = verdict.replace(former, present)
    return verdict
