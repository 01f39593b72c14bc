"""What a suite's verdicts say in a few lines, alike in the terminal, in JSON and on the pages.

Counted are tests, not claims: claims that share a test are one experiment and count once, a claim with a test a
benchmark counts each. Scores, mechanisms, interventions and identities stand apart; what goes the other way comes
first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.base.text import count, listed
from harness.judge.detail import VerdictDetail
from harness.vocabulary import Tone, Verdict

UNTESTED = (Verdict.NOT_RUN, Verdict.NOT_COMPARABLE, Verdict.REPORTED)
"""Words of claims that no test answers."""

FIRST = (Tone.AGAINST, Tone.HOLDS, Tone.PART, Tone.NULL, Tone.OPEN, Tone.IDLE, Tone.VOID)
"""Tones in the order in which headlines name them."""

SAID: Mapping[str, tuple[str, str]] = {
    Tone.AGAINST: ("goes the other way", "go the other way"),
    Tone.HOLDS: ("holds{}", "hold{}"),
    Tone.PART: ("holds in direction with a smaller effect", "hold in direction with a smaller effect"),
    Tone.NULL: ("shows no effect worth having", "show no effect worth having"),
    Tone.OPEN: ("stays open", "stay open"),
    Tone.IDLE: ("has a mechanism that did not act", "have a mechanism that did not act"),
    Tone.VOID: ("could not be judged", "could not be judged"),
}
"""What one test of a tone does, and what several do; in the place of {} stands the scope."""

OF_IDENTITIES: Mapping[str, tuple[str, str]] = {Tone.AGAINST: (str(Verdict.FAILS), "fail")}

UNKNOWN = ("has a verdict unknown to this version", "have verdicts unknown to this version")


class Group(StrEnum):
    """What is counted together, in the order of headlines."""

    PRIMARY = "primary scores"
    SCORES = "other scores"
    MECHANISMS = "mechanisms"
    INTERVENTIONS = "interventions of this suite"
    ABLATIONS = "claims on ablations"
    IDENTITIES = "formulas and code"


@dataclass(frozen=True, slots=True)
class ToldVerdict:
    """What a headline needs of a claim's verdict.

    Attributes:
        group: where it is counted; None for a claim that no test answers.
        tests: the word of each of its tests, by the name of the test.
    """

    claim_id: str
    word: str
    group: Group | None
    tests: Mapping[str, str]

    @classmethod
    def of(cls, claim_id: str, word: str, detail: VerdictDetail) -> ToldVerdict:
        """From a verdict and its detail."""
        if base_of(word) in UNTESTED:
            return cls(claim_id, word, None, {})
        return cls(claim_id, word, _group(detail), _tests(claim_id, word, detail))


def base_of(word: str) -> str:
    """The verdict without what stands in brackets."""
    return word.partition(" (")[0].strip()


def _group(detail: VerdictDetail) -> Group:
    kind, family = detail.question.kind, detail.multiplicity.family
    if kind == "identity" or detail.is_check:
        return Group.IDENTITIES
    if kind == "intervention":
        return Group.INTERVENTIONS
    if "mechanism" in (kind, family):
        return Group.MECHANISMS
    return {"primary": Group.PRIMARY, "ablation": Group.ABLATIONS}.get(family, Group.SCORES)


def _tests(claim_id: str, word: str, detail: VerdictDetail) -> dict[str, str]:
    """Word by test: one a benchmark where the judge gave one each, else the claim's own."""
    each = {entry.contrast: entry.verdict for entry in detail.per_benchmark if entry.contrast and entry.verdict}
    if len(each) > 1:
        return {name: label for name, label in each.items() if base_of(label) not in UNTESTED}
    return {detail.multiplicity.contrast or claim_id: word}


def place_of(word: str) -> tuple[int, int]:
    """Sorts verdicts: what goes the other way first, then in the order of headlines; unknown words last."""
    try:
        verdict = Verdict.of(word)
    except ValueError:
        return len(FIRST), 0
    return FIRST.index(verdict.tone), list(Verdict).index(verdict)


@dataclass(frozen=True, slots=True)
class HeadlineLine:
    """The tests of one group, or the claims that no test answers.

    Attributes:
        words: how many of each word, what goes the other way first.
        claims: the claims that they answer.
        stand_in: whether only directions are judged.
    """

    group: Group | None
    words: tuple[tuple[str, int], ...]
    claims: int
    stand_in: bool = False

    @property
    def tests(self) -> int:
        """Their number."""
        return sum(many for _, many in self.words)

    def __str__(self) -> str:
        if self.group is None:
            (word, many), *others = self.words
            first = f"{count(many, 'claim')} {word}"
            return f"Without a test: {listed([first, *(f'{more} {other}' for other, more in others)])}."
        tones: Counter[str] = Counter()
        for word, many in self.words:
            tones[_tone(word)] += many
        scope = " in direction" if self.stand_in and self.group != Group.IDENTITIES else ""
        text = {**SAID, **(OF_IDENTITIES if self.group == Group.IDENTITIES else {})}
        message = [f"{many} {text.get(tone, UNKNOWN)[many > 1].format(scope)}" for tone, many in tones.items()]
        noun = "check" if self.group == Group.IDENTITIES else "test"
        answered = "" if self.claims == self.tests else f" ({count(self.claims, 'claim')})"
        name = f"{self.group[0].upper()}{self.group[1:]}"
        return f"{name}: of {count(self.tests, noun)}{answered}, {listed(message)}."


def headline_lines(told: Iterable[ToldVerdict], *, stand_in: bool) -> list[HeadlineLine]:
    """A line a group that has verdicts, then one for the claims that no test answers."""
    groups: dict[Group | None, list[ToldVerdict]] = defaultdict(list)
    for item in told:
        groups[item.group].append(item)
    return [_line(group, groups[group], stand_in) for group in (*Group, None) if groups[group]]


def _line(group: Group | None, told: list[ToldVerdict], stand_in: bool) -> HeadlineLine:
    if group is None:
        words = Counter(base_of(item.word) for item in told)
    else:
        tests: dict[str, str] = {}
        for item in told:
            for name, word in item.tests.items():
                tests[name] = min(tests.get(name, word), word, key=place_of)
        words = Counter(base_of(word) for word in tests.values())
    ranked = sorted(words.items(), key=lambda each: (*place_of(each[0]), each[0]))
    return HeadlineLine(group, tuple(ranked), len(told), stand_in)


def headline_text(lines: Iterable[HeadlineLine], stand_in: bool) -> Iterator[str]:
    """The lines as sentences; those on stand-ins begin by saying so."""
    message = list(map(str, lines))
    if message and stand_in:
        yield "Measured on stand-ins: directions are judged, no published size is."
    yield from message


def _tone(word: str) -> str:
    try:
        return Verdict.of(word).tone
    except ValueError:
        return "unknown"
