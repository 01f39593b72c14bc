"""Figures of plain elements, which show at once, without scripts too.

The forest plot has one line a comparison, its interval, and at paper scale the published value beside it; every line is
a link. The small scatter under a claim has the mechanism's quantity against the gain, as a path of dots.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.judge.detail import EffectSize
from harness.vocabulary import Tone
from reports import formatting
from reports.data.claims import JudgedClaim
from reports.data.comparisons import DoseAndGain
from reports.data.suite_results import SuiteResults
from reports.figures.axis import Axis, Mark, axis_of
from reports.figures.figure import Figure, Table, spearman

WIDTH, HEIGHT = 220.0, 110.0
"""Of a scatter, in its own units."""
MOST = 120
"""Points of a scatter, evenly chosen of more; the correlation is over all."""


@dataclass(frozen=True, slots=True)
class ForestLine:
    """A line of the forest: claims that share a comparison and its numbers.

    Attributes:
        claim: the first of them.
        more: the number of further claims.
        published: where the published difference lies on the axis.
        reduction: where the relative error reduction lies on its axis; ``reduction_text`` in words.
    """

    claim: JudgedClaim
    where: str
    what: str
    more: int
    mark: Mark
    text: str
    published: float | None = None
    reduction: float | None = None
    reduction_text: str = ""
    on: str = ""


@dataclass(frozen=True)
class Forest(Figure):
    """A forest plot: lines on an axis; ``marks`` has every claim, also those that share a line."""

    lines: Sequence[ForestLine] = field(kw_only=True, repr=False)
    axis: Axis = field(kw_only=True)
    measured: str = field(kw_only=True)
    marks: Mapping[str, Mark] = field(kw_only=True, repr=False)
    reductions: Axis | None = None


def forests(results: SuiteResults) -> list[Forest]:
    """Forest plots of a suite: as published by unit, or one strip in d_z for a stand-in."""
    ranked = sorted(results.judged, key=lambda claim: claim.rank)
    measured = [claim for claim in ranked if formatting.finite(claim.verdict.difference) is not None]
    strip = [claim for claim in measured if claim.stand_in and claim.standardised is not None]
    figures = [_strip(results, strip)] if strip else []
    units: dict[str, list[JudgedClaim]] = defaultdict(list)
    for claim in measured:
        if not claim.stand_in:
            units[claim.unit].append(claim)
    return figures + [_as_published(results, unit, units[unit], place) for place, unit in enumerate(units)]


def _strip(results: SuiteResults, claims: Sequence[JudgedClaim]) -> Forest:
    """Stand-ins: standardised effect on the left, relative error reduction on the right."""
    effects = {claim.claim_id: claim.standardised or (None, None, None) for claim in claims}
    reductions = {claim.claim_id: (claim.detail.effect or EffectSize()).relative_error_reduction for claim in claims}
    percents = {name: None if share is None else 100 * share for name, share in reductions.items()}
    axis = axis_of(list(effects.values()))
    second = axis_of([(p,) for p in percents.values()]) if any(p is not None for p in percents.values()) else None
    together: dict[tuple[Any, ...], list[JudgedClaim]] = defaultdict(
        list
    )  # one line, as on a stand-in that serves several
    for claim in claims:
        together[claim.contrast, claim.word, *effects[claim.claim_id], reductions[claim.claim_id]].append(claim)
    lines = []
    for claim, *others in together.values():
        effect, low, high = effects[claim.claim_id]
        percent = percents[claim.claim_id]
        lines.append(
            ForestLine(
                claim,
                *_named(results, [claim, *others], claims),
                len(others),
                Mark.of(axis, effect, low, high),
                f"{formatting.number(effect, 2, sign=True)} {formatting.interval(low, high, 2)}",
                reduction=second.place(percent) if second else None,
                reduction_text="" if percent is None else f"{formatting.number(percent, 2, sign=True)} %",
                on=claim.stand_in_name,
            )
        )
    rest = sum(bool(claim.stand_in) for claim in results.judged) - len(claims)  # too few pairs, or equal differences
    more = f" {formatting.count(rest, 'claim')} without a standardised effect: in the list below only." * bool(rest)
    confirmed = sum(claim.tone == Tone.HOLDS for claim in claims)
    columns = [
        "claim",
        "comparison",
        "stand-in",
        "verdict",
        "n",
        "d_z",
        "low",
        "high",
        "relative error reduction",
        "difference",
        "unit",
    ]
    rows = [
        [
            c.claim_id,
            c.label(results.titles),
            c.stand_in_name,
            c.word,
            c.verdict.n,
            *effects[c.claim_id],
            reductions[c.claim_id],
            c.verdict.difference,
            c.unit,
        ]
        for c in claims
    ]
    return Forest(
        "forest-stand-in",
        "Effects on stand-ins",
        f"{formatting.count(len(claims), 'claim')} measured on a stand-in, as standardised effects with 95 % "
        f"intervals; {confirmed} {'is' if confirmed == 1 else 'are'} confirmed in direction.",
        Table(columns, rows, results.answers["verdicts"].sql),
        stand_in="each line names its own",
        note="Right of zero is as claimed. The effect d_z is the mean paired difference over its standard deviation; "
        "intervals are the exact ones of d_z (non-central t), 95 %, unadjusted: not symmetric, and wide at few seeds. "
        f"The setting is not the paper's, so no published value stands here.{more}",
        lines=lines,
        axis=axis,
        measured="d_z",
        marks={name: Mark.of(axis, *effect) for name, effect in effects.items()},
        reductions=second,
    )


def _named(results: SuiteResults, own: Sequence[JudgedClaim], claims: Sequence[JudgedClaim]) -> tuple[str, str]:
    places = list(dict.fromkeys(place for claim in own for place in claim.benchmarks))
    first = results.titles.get(places[0], places[0]) if places else str(own[0].fact["benchmark"])
    where = first if len(places) < 2 else f"{first} + {formatting.count(len(places) - 1, 'other')}"
    metrics = {
        claim.metric for claim in claims if claim.contrast == own[0].contrast and claim.benchmarks == own[0].benchmarks
    }
    return where, own[0].contrast + (f", {own[0].metric}" if len(metrics) > 1 else "")


def _as_published(results: SuiteResults, unit: str, claims: Sequence[JudgedClaim], place: int) -> Forest:
    ends = {
        claim.claim_id: tuple(map(formatting.finite, (row.difference, row.ci_low, row.ci_high)))
        for claim in claims
        for row in (claim.verdict,)
    }
    axis = axis_of([(*ends[claim.claim_id], claim.published) for claim in claims])
    marks = {name: Mark.of(axis, *existing) for name, existing in ends.items()}
    lines = []
    for claim in claims:
        middle, low, high = ends[claim.claim_id]
        message = f"{formatting.number(middle, sign=True)} {formatting.interval(low, high)}"
        if claim.published is not None:
            message += f", published {formatting.number(claim.published, sign=True)}"
        lines.append(
            ForestLine(
                claim, *_named(results, [claim], claims), 0, marks[claim.claim_id], message, axis.place(claim.published)
            )
        )
    columns = ["claim", "comparison", "verdict", "n", "difference", "low", "high", "published", "unit"]
    rows = [
        [c.claim_id, c.label(results.titles), c.word, c.verdict.n, *ends[c.claim_id], c.published, unit] for c in claims
    ]
    return Forest(
        f"forest-{place}",
        f"Measured and published differences, {unit}" if unit else "Measured and published differences",
        f"{formatting.count(len(claims), 'claim')} in {unit or 'the unit of the metric'}: measured difference with its "
        "95 % interval, and the published difference as a diamond beside it.",
        Table(columns, rows, results.answers["verdicts"].sql),
        note="Right of zero is as claimed; the diamond is the published difference.",
        lines=lines,
        axis=axis,
        measured=f"difference, {unit}" if unit else "difference",
        marks=marks,
    )


@dataclass(frozen=True, slots=True)
class Scatter:
    """Points of a dose (across) and a gain (up), one a trial.

    Attributes:
        own: the claim's own arm as an SVG path of dots; ``others`` all further arms.
        zero: height of a gain of zero.
        ends: words for the least and the largest dose, the least and the largest gain.
        rank: Spearman's correlation over all points.
    """

    doses: DoseAndGain
    against: str
    own: str
    others: str
    zero: float
    ends: tuple[str, str, str, str]
    rank: float

    @property
    def alt(self) -> str:
        """The drawing in words."""
        points, arms = len(self.doses.points), len({arm for arm, _, _ in self.doses.points})
        return (
            f"{self.doses.metric} from {self.ends[0]} to {self.ends[1]} against the gain over {self.against} from "
            f"{self.ends[2]} to {self.ends[3]}, {formatting.count(points, 'trial')} of "
            f"{formatting.count(arms, 'arm')}: rank correlation {formatting.number(self.rank, 2)}."
        )


def scatter(claim: JudgedClaim, pairs: DoseAndGain) -> Scatter:
    """A claim's doses and gains as dots."""
    doses, gains = [dose for _, dose, _ in pairs.points], [gain for _, _, gain in pairs.points]
    across, up = _range(doses), _range([*gains, 0.0])

    def at(dose: float, gain: float) -> tuple[float, float]:
        return (
            6 + (WIDTH - 12) * (dose - across[0]) / (across[1] - across[0]),
            HEIGHT - 6 - (HEIGHT - 12) * (gain - up[0]) / (up[1] - up[0]),
        )

    def path(own: bool) -> str:
        chosen = [at(dose, gain) for arm, dose, gain in pairs.points if (arm == claim.arm) is own]
        return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in chosen[:: max(1, len(chosen) * 2 // MOST)])

    ends = (
        formatting.number(min(doses)),
        formatting.number(max(doses)),
        formatting.number(min(gains), sign=True),
        formatting.number(max(gains), sign=True),
    )
    zero = round(at(doses[0], 0.0)[1], 1)
    return Scatter(pairs, claim.against, path(True), path(False), zero, ends, spearman(doses, gains))


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
