"""A claim with its verdict, as the pages show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from harness.judge.design import Estimand, Multiplicity, Pairing, Question, StatisticalRules
from harness.judge.detail import MeasuredComparison, VerdictDetail
from harness.judge.mechanism import MechanismReading
from harness.judge.rows import VerdictRow
from harness.results import verdict_text
from harness.results.verdict_text import CountedVerdict, place_of
from harness.suite.models import Claim as SuiteClaim
from harness.vocabulary import Protocol, Tone, Verdict
from reports import formatting
from reports.data.sql import Row

LABEL = 60
"""Letters of a label that fit on a phone."""


@dataclass(frozen=True)
class JudgedClaim:
    """A claim of a suite at a scale; ``tuned`` is the same under the tuned protocol, where that is second."""

    fact: Row
    binding: SuiteClaim | None
    verdict: VerdictRow
    stored: bool
    sides: Sequence[Row] = field(repr=False)
    protocol: str = Protocol.PUBLISHED
    tuned: JudgedClaim | None = None
    stand_in_name: str = ""

    @property
    def claim_id(self) -> str:
        return self.verdict.claim_id

    @property
    def scale(self) -> str:
        return self.verdict.scale

    @property
    def detail(self) -> VerdictDetail:
        """The design, and what was computed from it."""
        return self.verdict.detail

    @property
    def word(self) -> str:
        return self.verdict.verdict

    @property
    def tone(self) -> str:
        return formatting.shown(self.word).tone

    @property
    def rank(self) -> tuple[bool, tuple[int, int]]:
        """Sorts primary claims before others, and reversed ones before the rest."""
        return not self.primary, place_of(self.word)

    @property
    def counted(self) -> CountedVerdict:
        return CountedVerdict.of(self.claim_id, self.word, self.detail)

    @property
    def test(self) -> str:
        """The name of its test, which other claims may share."""
        return self.detail.multiplicity.contrast or self.claim_id

    @property
    def judged(self) -> bool:
        """True with stored trials or a verdict other than not run."""
        return self.stored and (self.counted.group is not None or self.verdict.n > 0)

    @property
    def compared(self) -> bool:
        return self.tone != Tone.VOID

    @property
    def family(self) -> str:
        """The family of its correction, or ``intervention``."""
        own = self.detail.question.kind == "intervention"
        return "intervention" if own else self.detail.multiplicity.family

    @property
    def primary(self) -> bool:
        return self.detail.multiplicity.family == "primary"

    def on(self, benchmark: str) -> list[MeasuredComparison]:
        return [entry for entry in self.detail.per_benchmark if entry.benchmark == benchmark]

    @property
    def gates(self) -> list[MechanismReading]:
        return [reading for reading in self.detail.gate_readings if reading.value is not None]

    @property
    def differences(self) -> tuple[float, ...]:
        """Differences of all deciding comparisons, in order."""
        existing = (formatting.finite(entry.difference) for entry in self.detail.per_benchmark)
        return tuple(value for value in existing if value is not None)

    @property
    def identity(self) -> bool:
        """True if a check of two numbers decides it, not trials."""
        return self.detail.question.kind == "identity" or self.detail.is_check

    @property
    def stand_in(self) -> tuple[str, ...]:
        """The parts that differ from the paper; empty at paper scale."""
        return self.verdict.stand_in

    @property
    def unit(self) -> str:
        unit = self.detail.estimand.unit
        return f"log ratio of {unit}" if self.detail.pairing.log_ratio else formatting.unit_of_difference(unit)

    @property
    def benchmarks(self) -> tuple[str, ...]:
        return self.detail.question.benchmarks

    @property
    def arm(self) -> str:
        """The arm that the claim speaks for."""
        return self.detail.question.arm or str(self.fact["method"] or "")

    @property
    def against(self) -> str:
        """The comparator that decides: of several that all do, the hardest."""
        effect, against = self.detail.effect, self.detail.question.against
        hardest = effect.decided_against if effect is not None else None
        return hardest or (against[0] if against else str(self.fact["baseline"] or ""))

    @property
    def metric(self) -> str:
        return self.detail.estimand.metric

    @property
    def contrast(self) -> str:
        return f"{self.arm} against {self.against}" if self.against else self.arm

    @property
    def reason(self) -> str:
        """Why it was not run or not decided."""
        return self.detail.reason or str(self.fact.get("unbound") or "")

    @property
    def published(self) -> float | None:
        """The published difference in the claim's direction (up = as claimed); None for another metric than its."""
        return self.detail.estimand.delta

    @property
    def printed(self) -> float | None:
        """The difference as the paper has it, with the paper's sign."""
        return next(iter(_printed(self.fact)), None)

    @property
    def standardised(self) -> tuple[float, float | None, float | None] | None:
        """d_z with its exact interval; an end that is not known is None."""
        effect = self.detail.effect
        return None if effect is None or effect.d_z is None else (effect.d_z, effect.d_z_low, effect.d_z_high)

    @property
    def change(self) -> str:
        """Text of what would change its verdict."""
        return verdict_text.what_would_change(self.verdict, self.unit, self.reason)

    @property
    def rates_text(self) -> str:
        """``confirmed at 2 of 4 rates``; empty if no other rate was measured."""
        return verdict_text.rates_text(self.detail)

    @property
    def choices(self) -> list[tuple[str, str, str]]:
        """Benchmark, arm and settings chosen at equal budgets."""
        return verdict_text.chosen_settings(self.detail)

    def label(self, titles: Mapping[str, str]) -> str:
        """The claim in a line: where, by the benchmarks' titles, and which arms."""
        places = [titles.get(name, name) for name in self.benchmarks] or [str(self.fact["benchmark"])]
        where = places[0] if len(places) == 1 else f"{places[0]} + {len(places) - 1}"
        room = max(18, LABEL - len(self.contrast))
        return f"{formatting.short(where, room)}: {formatting.short(self.contrast, LABEL)}"


def _printed(fact: Row) -> list[float]:
    """The paper's differences, printed ones first."""
    columns = (
        ("gain_difference",) if fact.get("setting") == "mixed" else ("published_difference", "computed_difference")
    )
    return [float(raw) for raw in map(fact.get, columns) if raw is not None]


def not_judged(fact: Row, binding: SuiteClaim | None, scale: str) -> VerdictRow:
    """The verdict ``not run`` of a claim, from suite and paper."""
    printed = next(filter(None, _printed(fact)), None)
    direction = 1 if (printed or (-1.0 if fact.get("better") == "lower" else 1.0)) > 0 else -1
    detail = VerdictDetail(
        scale,
        Question(
            claim_id=fact["claim_id"],
            suite=fact["suite"],
            kind=fact["kind"],
            mode="none",
            benchmarks=() if binding is None else tuple(binding.benchmarks),
            arm=None if binding is None else binding.arm,
            against=() if binding is None else tuple(binding.against),
        ),
        Pairing(),
        Estimand(direction, fact["metric"] or "", fact["unit"] or "", None if printed is None else abs(printed)),
        StatisticalRules(alpha=0.05, kappa=0.5, g=0.5, tolerated_failures=0.2, seeds=(0, 0, 0), sequential=False),
        Multiplicity("primary" if fact.get("is_primary") else "secondary"),
    )
    return VerdictRow(
        claim_id=fact["claim_id"],
        scale=scale,
        judged_at=datetime.min,
        verdict=Verdict.NOT_RUN,
        stand_in=(),
        sequential=False,
        detail=detail,
    )
