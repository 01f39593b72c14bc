"""Texts of verdicts: the same in the terminal, in JSON, on the pages and in exported tables.

Headlines count tests, not claims. Claims that share a test are one experiment and count once; a claim with a test for
each benchmark counts each. Groups of claims have separate lines, and reversed verdicts come first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from harness.base.text import count, interval, listed, number, probability, setting
from harness.base.values import plain
from harness.judge.detail import VerdictDetail, finite, from_json
from harness.judge.rows import VerdictRow
from harness.vocabulary import Protocol, Tone, Verdict

if TYPE_CHECKING:
    import pandas as pd


UNTESTED = (Verdict.NOT_RUN, Verdict.NOT_COMPARABLE, Verdict.REPORTED, Verdict.CONDITIONAL)
"""Verdicts of claims that no test decides."""
UNKNOWN = "unknown"
"""The tone of a verdict that this version does not know."""

TONES: Mapping[str, str] = {
    Tone.AGAINST: "reversed",
    Tone.HOLDS: "confirmed{}",
    Tone.PART: "confirmed in part",
    Tone.NULL: "below the smallest effect size of interest",
    Tone.OPEN: Verdict.INCONCLUSIVE.value,
    Tone.IDLE: "with an inactive mechanism",
    Tone.VOID: "not evaluable",
    UNKNOWN: "with a verdict unknown to this version",
}
"""Texts of the tones in the order in which headlines name them; {} is replaced by the scope."""

CHECKS: Mapping[str, str] = {Tone.AGAINST: "failed", Tone.HOLDS: "passed"}
"""Texts of checks of formulas and code."""


class Group(StrEnum):
    """Claims that are counted together, in the order of headlines."""

    PRIMARY = "primary scores"
    SCORES = "other scores"
    MECHANISMS = "mechanisms"
    INTERVENTIONS = "interventions of this suite"
    ABLATIONS = "claims on ablations"
    IDENTITIES = "formulas and code"


@dataclass(frozen=True, slots=True)
class CountedVerdict:
    """A claim's verdict as headlines count it.

    Attributes:
        group: None for a claim that no test decides.
        tests: the verdict of each of its tests, by the name of the test.
    """

    claim_id: str
    verdict: str
    group: Group | None
    tests: Mapping[str, str]

    @classmethod
    def of(cls, claim_id: str, verdict: str, detail: VerdictDetail) -> CountedVerdict:
        if base_of(verdict) in UNTESTED:
            return cls(claim_id, verdict, None, {})
        return cls(claim_id, verdict, _group(detail), _tests(claim_id, verdict, detail))


def base_of(verdict: str) -> str:
    """Return the verdict without its bracket."""
    return verdict.partition(" (")[0].strip()


def tone_of(verdict: str) -> str:
    """Return the tone of a verdict; ``UNKNOWN`` for one of a newer version."""
    try:
        return Verdict.of(verdict).tone
    except ValueError:
        return UNKNOWN


def place_of(verdict: str) -> tuple[int, int]:
    """Return the sort key of a verdict: reversed ones first, unknown ones last."""
    tone = tone_of(verdict)
    return list(TONES).index(tone), 0 if tone == UNKNOWN else list(Verdict).index(Verdict.of(verdict))


def _group(detail: VerdictDetail) -> Group:
    kind, family = detail.question.kind, detail.multiplicity.family
    if kind == "identity" or detail.is_check:
        return Group.IDENTITIES
    if kind == "intervention":
        return Group.INTERVENTIONS
    if "mechanism" in (kind, family):
        return Group.MECHANISMS
    return {"primary": Group.PRIMARY, "ablation": Group.ABLATIONS}.get(family, Group.SCORES)


def _tests(claim_id: str, verdict: str, detail: VerdictDetail) -> dict[str, str]:
    """Verdicts by test: one for each benchmark if the benchmarks are separate tests, else that of the claim."""
    each = {entry.contrast: entry.verdict for entry in detail.per_benchmark if entry.contrast and entry.verdict}
    own = detail.multiplicity.family  # a test that a stricter family shares is counted there
    if len(each) > 1:
        every = ((name, label) for name, label in each.items() if detail.family_of(name) == own)
        return {name: label for name, label in every if base_of(label) not in UNTESTED}
    return {detail.multiplicity.contrast or claim_id: verdict}


@dataclass(frozen=True, slots=True)
class HeadlineLine:
    """The tests of one group, or the claims that no test decides.

    Attributes:
        verdicts: number of tests by verdict, reversed ones first.
        claims: number of claims that these tests decide.
        stand_in: only directions are tested.
    """

    group: Group | None
    verdicts: tuple[tuple[str, int], ...]
    claims: int
    stand_in: bool = False

    @property
    def tests(self) -> int:
        return sum(many for _, many in self.verdicts)

    def __str__(self) -> str:
        if self.group is None:
            return f"Without a test: {', '.join(f'{many} {verdict}' for verdict, many in self.verdicts)}."
        tones: Counter[str] = Counter()
        for verdict, many in self.verdicts:
            tones[tone_of(verdict)] += many
        checks = self.group == Group.IDENTITIES
        texts = {**TONES, **CHECKS} if checks else TONES
        scope = " in direction" if self.stand_in else ""
        parts = [f"{many} {texts[tone].format(scope)}" for tone, many in tones.items()]
        decided = "" if self.claims == self.tests else f" ({count(self.claims, 'claim')})"
        tests = f"{count(self.tests, 'check' if checks else 'test')}{decided}"
        return f"{self.group[0].upper()}{self.group[1:]}: {tests}; {', '.join(parts)}."


def headline_lines(verdicts: Iterable[CountedVerdict], *, stand_in: bool) -> list[HeadlineLine]:
    """Return a line for each group, then one for other claims."""
    groups: dict[Group | None, list[CountedVerdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.group].append(verdict)
    return [_line(group, groups[group], stand_in) for group in (*Group, None) if groups[group]]


def _line(group: Group | None, verdicts: list[CountedVerdict], stand_in: bool) -> HeadlineLine:
    tests: dict[str, str] = {}
    for claim in verdicts:
        for name, verdict in claim.tests.items() if group else [(claim.claim_id, claim.verdict)]:
            tests[name] = min(tests.get(name, verdict), verdict, key=place_of)
    counts = Counter(map(base_of, tests.values()))
    ranked = sorted(counts.items(), key=lambda each: (*place_of(each[0]), each[0]))
    return HeadlineLine(group, tuple(ranked), len(verdicts), stand_in)


def headline_text(lines: Sequence[HeadlineLine], stand_in: bool) -> Iterator[str]:
    """Yield the lines as sentences, after a note on stand-ins."""
    if lines and stand_in:
        yield "Measured on stand-ins: only the direction of each effect is tested, not its published size."
    yield from map(str, lines)


def headline(verdicts: Sequence[VerdictRow]) -> list[str]:
    """Return the sentences that summarise verdicts under the published protocol."""
    published = by_protocol(verdicts)[0]
    stand_in = any(verdict.stand_in for verdict in published)
    counted = (CountedVerdict.of(verdict.claim_id, verdict.verdict, verdict.detail) for verdict in published)
    return list(headline_text(headline_lines(counted, stand_in=stand_in), stand_in))


def by_protocol(verdicts: Sequence[VerdictRow]) -> tuple[list[VerdictRow], list[VerdictRow]]:
    """Return the claims' main verdicts, and tuned ones beside published ones."""
    named = {verdict.claim_id for verdict in verdicts if verdict.protocol == Protocol.PUBLISHED}
    tuned = [verdict for verdict in verdicts if verdict.protocol == Protocol.TUNED and verdict.claim_id in named]
    return [verdict for verdict in verdicts if verdict not in tuned], tuned


def number_texts(
    difference: float | None, low: float | None, high: float | None, n: int | None, adjusted_p: float | None
) -> tuple[str, str, str, str]:
    """Return texts of effect, interval, number of pairs and adjusted p."""
    return number(difference, sign=True), interval(low, high), str(n or ""), probability(adjusted_p)


def sentence(
    verdict: VerdictRow, unit: str, reason: str, *, sharing: int = 1, tuned: str = "", stand_in: str = ""
) -> str:
    """Return the numbers of a verdict and notes: claims that share the test, the tuned verdict, the stand-in."""
    notes = [f"{count(sharing, 'claim')} share this test"] if sharing > 1 else []
    notes += [f"tuned: {tuned}"] if tuned else []
    notes += [*filter(None, [rates_text(verdict.detail)]), *([f"on {stand_in}"] if stand_in else [])]
    if verdict.difference is None:
        numbers = f": {reason}" if reason else ""
    else:
        size, ends, _, p = number_texts(
            verdict.difference, verdict.ci_low, verdict.ci_high, verdict.n, verdict.adjusted_p
        )
        adjusted = "" if verdict.adjusted_p is None else f", adjusted p {p}"
        pairs = count(verdict.n, *verdict.detail.replicates)
        numbers = f": {f'{size} {unit}'.strip()}, 95 % interval {ends} over {pairs}{adjusted}"
    return "; ".join([numbers, *notes]) + "."


def what_would_change(verdict: VerdictRow, unit: str, reason: str) -> str:
    """Describe what would change a verdict."""
    detail, tone, adjusted = verdict.detail, tone_of(verdict.verdict), verdict.adjusted_p
    if tone == Tone.IDLE:
        readings = [reading for reading in detail.gate_readings if reading.value is not None]
        failed = [reading.rule.metric for reading in readings if not reading.passed]
        return f"A setting in which the mechanism acts, so that {listed(failed) or 'its check'} passes the threshold."
    if tone == Tone.OPEN:
        return _more_seeds(verdict, unit) or reason or "More paired seeds."
    if tone in (Tone.HOLDS, Tone.PART, Tone.AGAINST) and verdict.difference is not None:
        nearest = finite(verdict.ci_low if tone != Tone.AGAINST else verdict.ci_high)
        texts = [] if nearest is None else [f"The interval ends {number(abs(nearest))} {unit} from zero."]
        if adjusted and adjusted < detail.rules.alpha:
            texts.append(f"With α below {number(adjusted)} it would be inconclusive.")
        if detail.effect is not None and detail.effect.again is not None:
            texts.append(f"The same design would give this direction again in about {100 * detail.effect.again:.0f} %.")
        texts += ["Only scale paper can test the published size."] if verdict.stand_in else []
        return " ".join(texts)
    if tone == Tone.NULL:
        smallest = detail.numbers.smallest
        below = f" (now {number(smallest)} {unit})" if smallest is not None else ""
        return f"A lower smallest effect size of interest{below}, or more seeds that move the mean."
    return reason


def seeds_needed(verdict: VerdictRow) -> int | None:
    """Return the pairs that a fixed design needs beyond the existing ones.

    With 80 % power at the corrected level, for the least effect that the interval allows; None without this level.
    """
    effect = verdict.detail.effect
    if effect is None or effect.seeds_needed is None or effect.level is None:
        return None
    return effect.seeds_needed if effect.seeds_needed > verdict.n else None


def _more_seeds(verdict: VerdictRow, unit: str) -> str:
    needed, effect = seeds_needed(verdict), verdict.detail.effect
    texts = []
    if effect is not None and effect.mde is not None:
        seeds = count(verdict.n, "seed")
        texts.append(f"With {seeds} an effect of {number(effect.mde)} {unit} would be detected with 80 % power.")
    if needed is not None:
        texts.append(
            f"{count(needed, 'paired seed')} would decide an effect as small as the interval allows, "
            "with 80 % power at the corrected level."
        )
    return " ".join(texts)


def rates_text(detail: VerdictDetail) -> str:
    """Return ``confirmed at 2 of 4 rates``; empty if no other rate was measured."""
    measured = detail.measured_rates
    return f"confirmed at {sum(entry.holds for entry in measured)} of {len(measured)} rates" if measured else ""


def chosen_settings(detail: VerdictDetail) -> list[tuple[str, str, str]]:
    """Return benchmark, arm and its tuned settings: ``lr 0.1 (largest of the grid), wd 0.1``, ``or`` other ones."""
    choices: dict[tuple[str, str], dict[str, None]] = {}
    for benchmark, searches in detail.tuning.items():
        for search in searches:
            for arm, params in search.chosen.items():
                at = {key: f" ({end} of the grid)" for key, end in search.ends.get(arm, {}).items()}
                values = (
                    f"{key.rpartition('.')[2]} {setting(value)}{at.get(key, '')}" for key, value in params.items()
                )
                choices.setdefault((benchmark, arm), {})[", ".join(values)] = None
    return [(benchmark, arm, " or ".join(texts)) for (benchmark, arm), texts in choices.items()]


@dataclass(frozen=True, slots=True)
class Note:
    """A text on claims: a ``reason`` without a decision, a ``warning``, an ``interim``, ``items`` or a ``change``."""

    kind: str
    text: str
    claims: tuple[str, ...]


def notes_of(verdicts: Sequence[VerdictRow]) -> list[Note]:
    """Return the notes on verdicts by kind, each text once."""
    notes: dict[str, dict[str, dict[str, None]]] = {
        kind: {} for kind in ("reason", "warning", "interim", "items", "change")
    }
    for verdict in verdicts:
        for kind, text in _notes(verdict):
            notes[kind].setdefault(text, {})[verdict.claim_id] = None
    return [Note(kind, text, tuple(claims)) for kind, texts in notes.items() for text, claims in texts.items()]


def _notes(verdict: VerdictRow) -> Iterator[tuple[str, str]]:
    detail, label = verdict.detail, verdict.verdict
    if label != Verdict.NOT_RUN and tone_of(label) in (Tone.VOID, Tone.IDLE) and not detail.is_check and detail.reason:
        yield "reason", f"{label}: {detail.reason}"
    for text in detail.warnings:
        yield "warning", f"warning: {text}"
    if detail.planned is not None:
        pairs = f"{detail.look} of {detail.planned} planned {detail.replicates[1]}"
        yield "interim", f"{pairs}: an interim analysis, to which the sequential test applies"
    elif len(detail.look_sizes) > 1:
        at = ", ".join(map(str, detail.look_sizes))
        yield "interim", f"seeds were added after a first analysis ({at} pairs): the sequential test applies"
    if detail.question.scope == "mean" and len(detail.numbers.deciding) > 1:
        yield "items", f"scope mean: over these {len(detail.numbers.deciding)} benchmarks, not benchmarks in general"
    for entry in detail.per_benchmark:
        if entry.two_way is not None:
            condition = f"{entry.two_way.conditional_on}; the interval over seeds is conditional on these items"
            yield "items", f"seeds × items: {condition}"
    for change in detail.changed:
        yield "change", f"changed since registration: {change}"


OF_VERDICT = ("claim_id", "scale", "protocol", "verdict", "n", "difference", "ci_low", "ci_high", "p", "adjusted_p")
OF_DESIGN = ("family", "kind", "metric", "unit", "arm", "against", "benchmarks")
"""Of a verdict's record and of its design, what is a column of the frame."""


def verdict_record(verdict: VerdictRow) -> dict[str, Any]:
    """A verdict as JSON: its columns and what it was measured on."""
    return dict(plain(verdict.columns() | {"stand_in_name": verdict.detail.stand_in_name}))


def verdict_frame(records: Iterable[Mapping[str, Any]], suite: str) -> pd.DataFrame:
    """Verdicts as a data frame, one row a claim, scale and protocol.

    Args:
        records: rows of ``verdicts``, or records of :func:`verdict_record`.

    ``difference`` and its interval are in the metric's unit, up in the claimed direction; ``stand_in`` names what
    stands in for the paper's setting, and is empty as published.
    """
    import pandas as pd

    rows = []
    for record in records:
        detail = from_json(record.get("design") or {})
        question = detail.question
        stored = {name: record.get(name) for name in (*OF_VERDICT, "e_value", "sequential", "judged_at")}
        design = {
            "family": detail.multiplicity.family,
            "kind": question.kind,
            "metric": detail.estimand.metric,
            "unit": detail.estimand.unit,
            "arm": question.arm,
            "against": ", ".join(question.against),
            "benchmarks": ", ".join(question.benchmarks),
            "stand_in": detail.stand_in_name,
            "reason": detail.reason,
        }
        rows.append({"suite": suite, **stored, **design})
    columns = ["suite", *OF_VERDICT, "e_value", *OF_DESIGN, "stand_in", "reason", "sequential", "judged_at"]
    return pd.DataFrame(rows, columns=columns)
