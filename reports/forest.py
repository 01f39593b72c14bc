"""The forest plot: one line a comparison, its interval, and at paper scale the published value beside it.

It is made of plain elements, not drawn by a script: it shows at once, without scripts too, and every line is a link.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reports import words
from reports.figure import Figure
from reports.reading import Claim, Gathered

LABEL = 60
"""Letters of a label that fit on a phone."""
FAR = 2.0
"""An axis reaches at most so many times as far as nine tenths of the interval ends; what lies beyond gets an arrow."""
TICKS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values and its ticks; places are percent of the width."""

    low: float
    high: float

    def place(self, value: float | None) -> float | None:
        """Where a value lies, at most at the edges."""
        if value is None:
            return None
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def beyond(self, value: float | None) -> int:
        """−1 or 1 where a value lies beyond the left or the right edge, else 0."""
        return 0 if value is None else -1 if value < self.low else 1 if value > self.high else 0

    @property
    def zero(self) -> float:
        """Where zero lies."""
        return self.place(0.0) or 0.0

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """About five round values with their places, zero among them where the axis has it."""
        span = self.high - self.low
        step = 10 ** math.floor(math.log10(span / 5))
        step *= next(factor for factor in TICKS if span / (step * factor) <= 6)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(self.place(k * step) or 0.0, words.setting(round(k * step, 10))) for k in range(first, last + 1)]


def axis_of(marks: Sequence[Sequence[float | None]]) -> Axis:
    """The axis on which marks (estimate, low, high, …) are drawn: around zero, and not for the sake of one outlier."""
    ends = [abs(value) for mark in marks for value in mark if value is not None and math.isfinite(value)]
    known = sorted(ends)
    limit = FAR * known[int(0.9 * (len(known) - 1))] if known else 1.0
    values = [min(limit, max(-limit, v)) for mark in marks for v in mark if v is not None and math.isfinite(v)]
    low, high = min([0.0, *values]), max([0.0, *values])
    room = 0.04 * (high - low) or 1.0
    return Axis(low - room, high + room)


@dataclass(frozen=True, slots=True)
class Mark:
    """An estimate with its interval on an axis; ``left`` and ``right`` say that the interval goes on beyond an edge."""

    middle: float | None
    low: float
    high: float
    left: bool
    right: bool

    @classmethod
    def of(cls, axis: Axis, middle: float | None, low: float | None, high: float | None) -> Mark:
        """On an axis; an end that is not known reaches the edge."""
        at = axis.place(middle)
        ends = (axis.place(low) if low is not None else 0.0, axis.place(high) if high is not None else 100.0)
        outside = axis.beyond(middle)
        return cls(at if not outside else None, ends[0] or 0.0, ends[1] or 0.0,
                   low is None or axis.beyond(low) < 0 or outside < 0,
                   high is None or axis.beyond(high) > 0 or outside > 0)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the forest: claims that share a comparison and its numbers."""

    claim: Claim
    where: str
    what: str
    more: int
    mark: Mark
    told: str
    published: float | None
    reduction: float | None
    reduction_told: str


@dataclass(frozen=True)
class Forest(Figure):
    """A forest plot with its text alternative, its numbers and its statement."""

    lines: Sequence[Line] = field(default=(), repr=False)
    axis: Axis = Axis(-1.0, 1.0)
    measured: str = ""
    marks: Mapping[str, Mark] = field(default_factory=dict, repr=False)
    reductions: Axis | None = None


def label(claim: Claim, titles: Mapping[str, str]) -> str:
    """A claim in a line: where, and which arms."""
    places = [titles.get(name, name) for name in claim.benchmarks] or [str(claim.fact["benchmark"])]
    where = places[0] if len(places) == 1 else f"{places[0]} + {len(places) - 1}"
    room = max(18, LABEL - len(claim.contrast))
    return f"{words.short(where, room)}: {words.short(claim.contrast, LABEL)}"


def forests(found: Gathered) -> list[Forest]:
    """Forest plots of a suite: as published by unit, or one strip in d_z for a stand-in."""
    titles = {name: bench.title for name, bench in found.benches.items()}
    ranked = sorted(found.judged, key=lambda claim: not claim.primary)
    measured = [claim for claim in ranked if words.finite(claim.value("difference")) is not None]
    figures = []
    strip = [claim for claim in measured if claim.stand_in and claim.standardised is not None]
    if strip:
        figures.append(_strip(found, strip, titles))
    units: dict[str, list[Claim]] = defaultdict(list)
    for claim in measured:
        if not claim.stand_in:
            units[claim.unit].append(claim)
    figures += [_as_published(found, unit, claims, titles, place) for place, (unit, claims) in enumerate(units.items())]
    return figures


def _together(
    claims: Sequence[Claim], numbers: Mapping[str, tuple[float | None, ...]]
) -> list[tuple[Claim, list[Claim]]]:
    """Claims in lines: where arms, numbers and verdict are the same, as on a stand-in that serves several, in one."""
    lines: dict[tuple[Any, ...], list[Claim]] = {}
    for claim in claims:
        lines.setdefault((claim.contrast, claim.word, *numbers[claim.claim_id]), []).append(claim)
    return [(own[0], own) for own in lines.values()]


def _strip(found: Gathered, claims: Sequence[Claim], titles: Mapping[str, str]) -> Forest:
    """Stand-ins: standardised effect on the left, relative error reduction on the right."""
    marks = {claim.claim_id: claim.standardised or (None, None, None) for claim in claims}
    reductions = {claim.claim_id: words.finite(claim.design.get("relative_error_reduction")) for claim in claims}
    axis = axis_of(list(marks.values()))
    shares = [(None if one is None else 100 * one,) for one in reductions.values()]
    second = axis_of(shares) if any(one[0] is not None for one in shares) else None
    lines = []
    for claim, own in _together(claims, {name: (*mark, reductions[name]) for name, mark in marks.items()}):
        effect, low, high = marks[claim.claim_id]
        reduction = reductions[claim.claim_id]
        percent = None if reduction is None else 100 * reduction
        lines.append(Line(
            claim, *_named(own, claims, titles), len(own) - 1, Mark.of(axis, effect, low, high),
            f"{words.number(effect, 2, sign=True)} {words.interval(low, high, 2)}", None,
            second.place(percent) if second else None,
            "" if percent is None else f"{words.number(percent, 2, sign=True)} %",
        ))  # fmt: skip
    rows = [[c.claim_id, label(c, titles), c.word, c.value("n"), *marks[c.claim_id], reductions[c.claim_id],
             c.value("difference"), c.unit] for c in claims]  # fmt: skip
    known = [claim for claim in claims if claim.tone.name == "holds"]
    return Forest(
        "forest-stand-in",
        "Effects on the stand-in",
        f"{words.count(len(claims), 'claim')} measured on a stand-in, as standardised effects with 95 % intervals; "
        f"{len(known)} {'is' if len(known) == 1 else 'are'} confirmed in direction.",
        {},
        ["claim", "comparison", "verdict", "n", "d_z", "low", "high", "relative error reduction", "difference", "unit"],
        rows,
        _statement(found),
        hatched=True,
        note="Right of zero is as claimed. The effect d_z is the mean paired difference over its standard deviation; "
        "intervals are 95 %, unadjusted, on the same scale. The setting is not the paper's, so no published value "
        f"stands here.{_left_out(found, claims)}",
        lines=lines,
        axis=axis,
        measured="d_z",
        marks={name: Mark.of(axis, *mark) for name, mark in marks.items()},
        reductions=second,
    )


def _named(own: Sequence[Claim], all_: Sequence[Claim], titles: Mapping[str, str]) -> tuple[str, str]:
    """Where a line was measured and what it compares; with the metric, where another one is compared there too."""
    places = list(dict.fromkeys(place for claim in own for place in claim.benchmarks))
    first = titles.get(places[0], places[0]) if places else str(own[0].fact["benchmark"])
    where = first if len(places) < 2 else f"{first} + {words.count(len(places) - 1, 'other')}"
    metrics = {
        claim.metric for claim in all_ if claim.contrast == own[0].contrast and claim.benchmarks == own[0].benchmarks
    }
    return where, own[0].contrast + (f", {own[0].metric}" if len(metrics) > 1 else "")


def _left_out(found: Gathered, drawn: Sequence[Claim]) -> str:
    """How many claims have no standardised effect (fewer than three pairs, or equal differences)."""
    rest = sum(bool(claim.stand_in) for claim in found.judged) - len(drawn)
    return f" {words.count(rest, 'claim')} without a standardised effect: in the list below only." if rest else ""


def _as_published(found: Gathered, unit: str, claims: Sequence[Claim], titles: Mapping[str, str], place: int) -> Forest:
    marks = {
        claim.claim_id: (words.finite(claim.value("difference")), words.finite(claim.value("ci_low")),
                         words.finite(claim.value("ci_high")))
        for claim in claims
    }  # fmt: skip
    axis = axis_of([(*marks[claim.claim_id], claim.published) for claim in claims])
    lines = []
    for claim in claims:
        middle, low, high = marks[claim.claim_id]
        printed = "" if claim.published is None else f", published {words.number(claim.published, sign=True)}"
        lines.append(Line(
            claim, *_named([claim], claims, titles), 0, Mark.of(axis, middle, low, high),
            f"{words.number(middle, sign=True)} {words.interval(low, high)}{printed}", axis.place(claim.published),
            None, "",
        ))  # fmt: skip
    rows = [[c.claim_id, label(c, titles), c.word, c.value("n"), *marks[c.claim_id], c.published, unit]
            for c in claims]  # fmt: skip
    return Forest(
        f"forest-{place}",
        f"Measured and published differences, {unit}" if unit else "Measured and published differences",
        f"{words.count(len(claims), 'claim')} in {unit or 'the unit of the metric'}: measured difference with its 95 % "
        "interval, and the published difference as a diamond beside it.",
        {},
        ["claim", "comparison", "verdict", "n", "difference", "low", "high", "published", "unit"],
        rows,
        _statement(found),
        note="Right of zero is as claimed; the diamond is the published difference.",
        lines=lines,
        axis=axis,
        measured=f"difference, {unit}" if unit else "difference",
        marks={name: Mark.of(axis, *mark) for name, mark in marks.items()},
    )


def _statement(found: Gathered) -> str:
    return found.asked["verdicts"].sql
