"""A claim with what the store says of it: verdict, gates, trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.results.headlines import ToldVerdict, place_of
from harness.suite.models import Claim as SuiteClaim
from harness.vocabulary import Protocol, Tone, Verdict
from reports import formatting
from reports.data.sql import Row

LABEL = 60
"""Letters of a label that fit on a phone."""

OF_ENTRY = ("benchmark", "metric", "n", "difference", "low", "high", "differences")
"""What a benchmark's page shows of a comparison there."""


@dataclass(frozen=True, kw_only=True)
class ClaimHere:
    """What the page of a benchmark shows of a claim judged there, and nothing else: these values decide the page.

    Attributes:
        entries: what was compared on this benchmark, of which ``OF_ENTRY``.
        plain_unit: whether its differences are in the metric's own unit.
    """

    claim_id: str
    statement: str
    kind: str
    word: str
    tone: str
    contrast: str
    family: str
    arm: str
    against: str
    metric: str
    unit: str
    plain_unit: bool
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    n: int | None
    stand_in_name: str
    compared: bool
    entries: Sequence[Mapping[str, Any]]
    gates: Sequence[str]


@dataclass(frozen=True)
class Claim:
    """A claim with what the store says of it.

    Attributes:
        fact: its row of ``claims``: as printed.
        binding: how the suite binds it, if it does.
        verdict: the latest row of ``verdicts`` at the scale, that of the published protocol where there is one.
        gates: its rows of ``gates``.
        sides: the trials it rests on, with side, benchmark, arm and seed.
        protocol: by which ``verdict`` was judged.
        tuned: the claim under the tuned protocol, where that is the second one.
        stand_in_name: what stands in for the paper's setting, in a few words; empty as published.
    """

    claim_id: str
    scale: str
    fact: Row
    binding: SuiteClaim | None
    verdict: Row | None
    gates: Sequence[Row]
    sides: Sequence[Row] = field(repr=False)
    protocol: str = Protocol.PUBLISHED
    tuned: Claim | None = None
    stand_in_name: str = ""

    def here(self, benchmark: str) -> ClaimHere:
        """What the page of a benchmark shows of it."""
        entries = [
            {name: entry.get(name) for name in OF_ENTRY}
            for entry in self.per_benchmark
            if entry.get("benchmark") == benchmark
        ]
        return ClaimHere(
            claim_id=self.claim_id,
            statement=str(self.fact["statement"]),
            kind=str(self.fact["kind"]),
            word=self.word,
            tone=self.tone,
            contrast=self.contrast,
            family=self.family,
            arm=self.arm,
            against=self.against,
            metric=str(self.design.get("metric") or self.fact["metric"]),
            unit=self.unit,
            plain_unit=not self.design.get("log_ratio"),
            difference=self.value("difference"),
            ci_low=self.value("ci_low"),
            ci_high=self.value("ci_high"),
            n=self.value("n"),
            stand_in_name=self.stand_in_name,
            compared=self.compared,
            entries=entries,
            gates=[str(gate["metric"]) for gate in self.gates],
        )

    @property
    def word(self) -> str:
        """The verdict's word."""
        return str(self.verdict["verdict"]) if self.verdict else Verdict.NOT_RUN

    @property
    def tone(self) -> str:
        """How its verdict looks."""
        return formatting.shown(self.word).tone

    @property
    def rank(self) -> tuple[bool, tuple[int, int]]:
        """Sorts primary claims before others, and what goes the other way before the rest."""
        return not self.primary, place_of(self.word)

    @property
    def told(self) -> ToldVerdict:
        """What headlines count of it."""
        return ToldVerdict.of(self.claim_id, self.word, self.design, str(self.fact.get("kind") or ""))

    @property
    def test(self) -> str:
        """The name of the test that decides it, which other claims may share."""
        return str(self.design.get("contrast_id") or self.claim_id)

    @property
    def judged(self) -> bool:
        """Whether trials decided anything or tried to: a weak baseline and unfit trials are told where words are."""
        return self.verdict is not None and (self.told.group is not None or self.verdict["n"] not in (None, 0))

    @property
    def compared(self) -> bool:
        """Whether its trials were fit to be compared, so that its differences say something."""
        return self.tone != Tone.VOID

    @property
    def family(self) -> str:
        """Whose correction decides it, or that it is a test of this suite's own."""
        own = self.fact.get("kind") == "intervention"
        return "intervention" if own else "primary" if self.primary else str(self.design.get("family") or "")

    @cached_property
    def design(self) -> dict[str, Any]:
        """What was fixed before and computed beside the verdict; {} without one."""
        given = self.value("design")
        return dict(given) if isinstance(given, Mapping) else {}

    @property
    def per_benchmark(self) -> list[Mapping[str, Any]]:
        """What the judge computed on each benchmark: ``benchmark, n, difference, low, high, differences, …``."""
        return [entry for entry in self.design.get("per_benchmark") or () if isinstance(entry, Mapping)]

    @property
    def differences(self) -> tuple[float, ...]:
        """Of all comparisons that decide, in the order in which they are judged."""
        known = (formatting.finite(entry.get("difference")) for entry in self.per_benchmark)
        return tuple(value for value in known if value is not None)

    @property
    def shown(self) -> list[Mapping[str, Any]]:
        """Comparisons beside it that do not decide."""
        return [entry for entry in self.design.get("shown") or () if isinstance(entry, Mapping)]

    def value(self, column: str) -> Any:
        """A column of the verdict, None without one."""
        return self.verdict.get(column) if self.verdict else None

    @property
    def identity(self) -> bool:
        """Whether it is decided by a check of both sides, not by trials."""
        return self.fact.get("kind") == "identity" or self.design.get("mode") == "check"

    @property
    def stand_in(self) -> tuple[str, ...]:
        """What differed from the paper; empty at paper scale."""
        return tuple(self.value("stand_in") or ())

    @property
    def unit(self) -> str:
        """Unit of the difference."""
        unit = str(self.design.get("unit") or self.fact.get("unit") or "")
        return f"log ratio of {unit}" if self.design.get("log_ratio") else formatting.unit_of_difference(unit)

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The benchmarks it is bound to, as the judge or the suite has them."""
        given = self.design.get("benchmarks") or self.design.get("benchmark") or ()
        if isinstance(given, str):
            given = (given,)
        return tuple(map(str, given)) or tuple(self.binding.benchmarks if self.binding else ())

    @property
    def arm(self) -> str:
        """The arm that the claim speaks for."""
        return str(self.design.get("arm") or (self.binding.arm if self.binding else None) or self.fact["method"] or "")

    @property
    def against(self) -> str:
        """The comparator that decides: of several that all do, the hardest."""
        bound = self.binding.against if self.binding else None
        given = self.design.get("decided_against") or self.design.get("against") or bound
        if isinstance(given, str):
            return given
        return str(given[0]) if given else str(self.fact["baseline"] or "")

    @property
    def metric(self) -> str:
        """What is compared."""
        return str(self.design.get("metric") or self.fact.get("metric") or "")

    @property
    def contrast(self) -> str:
        """The comparison in short."""
        return f"{self.arm} against {self.against}" if self.against else self.arm

    @property
    def primary(self) -> bool:
        """Whether it is in the family of primary tests; before it was judged, whether the suite marks it so."""
        family = self.design.get("family")
        return bool(self.fact.get("is_primary")) if family is None else family == "primary"

    @property
    def reason(self) -> str:
        """Why it was not run or not decided."""
        given = self.design.get("reason") or self.fact.get("unbound") or (self.binding and self.binding.unbound)
        return str(given or "")

    @cached_property
    def _differences(self) -> list[float]:
        """The differences that the paper has, the printed one before the computed one."""
        gain = self.fact.get("setting") == "mixed"
        columns = ("gain_difference",) if gain else ("published_difference", "computed_difference")
        return [float(raw) for raw in map(self.fact.get, columns) if raw is not None]

    @property
    def published(self) -> float | None:
        """The published difference in the claim's direction (up = as claimed); None for another metric than its."""
        if "delta" in self.design:
            return formatting.finite(self.design["delta"])
        return next((raw * self.direction for raw in self._differences if raw), None)

    @property
    def printed(self) -> float | None:
        """The difference as the paper has it, with the paper's sign."""
        return next(iter(self._differences), None)

    @property
    def direction(self) -> int:
        """+1 where the claim says that the method's number is higher."""
        given = self.design.get("direction")
        if given in (1, -1):
            return int(given)
        otherwise = -1.0 if self.fact.get("better") == "lower" else 1.0
        return 1 if next(filter(None, self._differences), otherwise) > 0 else -1

    @property
    def standardised(self) -> tuple[float, float | None, float | None] | None:
        """d_z with its exact interval, as the judge computed it; an end that is not known is None."""
        effect, low, high = (formatting.finite(self.design.get(key)) for key in ("d_z", "d_z_low", "d_z_high"))
        return None if effect is None else (effect, low, high)

    @property
    def seeds_needed(self) -> int | None:
        """Pairs that a fixed design needs for 80 % power at the corrected level, for the least effect that the exact
        interval allows. None where the judge has none, where a verdict was stored without that level, and where there
        are as many already.
        """
        needed = formatting.finite(self.design.get("seeds_needed"))
        known = needed is not None and formatting.finite(self.design.get("level")) is not None
        return int(needed) if needed is not None and known and needed > (self.value("n") or 0) else None

    @property
    def rate_curve(self) -> list[Mapping[str, Any]]:
        """The difference at other learning rates that were measured: ``factor, rates, n, difference, holds, …``."""
        return [entry for entry in self.design.get("rate_curve") or () if entry["measured"]]

    @property
    def rates_told(self) -> str:
        """``holds at 2 of 4 rates``; '' where no other rate was measured."""
        curve = self.rate_curve
        return f"holds at {sum(bool(entry['holds']) for entry in curve)} of {len(curve)} rates" if curve else ""

    @property
    def choices(self) -> list[tuple[str, str, str]]:
        """What arms chose at equal budgets: (benchmark, arm, ``lr 0.1 (largest of the grid), weight_decay 0.1``)."""
        told = []
        for name, search in (self.design.get("tuning") or {}).items():
            for arm, params in search["chosen"].items():
                at = {key: f" ({end} of the grid)" for key, end in search.get("ends", {}).get(arm, {}).items()}
                values = (
                    f"{key.rpartition('.')[2]} {formatting.setting(value)}{at.get(key, '')}"
                    for key, value in params.items()
                )
                told.append((name, arm, ", ".join(values)))
        return told

    @property
    def gate(self) -> str:
        """``acted``, ``did not act``, ``not measured``, or '' where the claim has no gate."""
        if given := self.design.get("mechanism"):
            return str(given)
        return "" if not self.gates else "acted" if all(gate["passed"] for gate in self.gates) else "did not act"

    def label(self, titles: Mapping[str, str]) -> str:
        """The claim in a line: where, by the benchmarks' titles, and which arms."""
        places = [titles.get(name, name) for name in self.benchmarks] or [str(self.fact["benchmark"])]
        where = places[0] if len(places) == 1 else f"{places[0]} + {len(places) - 1}"
        room = max(18, LABEL - len(self.contrast))
        return f"{formatting.short(where, room)}: {formatting.short(self.contrast, LABEL)}"
