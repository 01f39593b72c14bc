"""Beyond single claims: wins and losses over benchmarks, and what is left of a gain when a part is removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.stats import paired_t
from harness.vocabulary import Tone
from reports import formatting
from reports.data.ablations import Ablation
from reports.data.claims import Claim
from reports.data.suite_results import SuiteResults
from reports.links import bench_path

INTERVENTIONS = 4
SIDES = {Tone.HOLDS: "ahead", Tone.AGAINST: "behind", Tone.OPEN: "not clear"}
"""Where the interval lies, the claim's direction being ahead."""


@dataclass(frozen=True, slots=True)
class BenchmarkComparison:
    """A claim's comparison on one benchmark: its interval, and on which side of zero that lies."""

    claim: Claim
    title: str
    path: str
    task: str
    difference: float
    low: float | None
    high: float | None
    n: int | None

    @property
    def tone(self) -> Tone:
        """On which side of zero the interval lies."""
        return formatting.side(self.low, self.high)

    @property
    def side(self) -> str:
        """The same in a word."""
        return SIDES[self.tone]


@dataclass(frozen=True, slots=True)
class Wins:
    """Every comparison by benchmark, and counts of the sides by (task, comparison) where there are several."""

    rows: Sequence[BenchmarkComparison]
    tallies: Sequence[tuple[str, str, Sequence[int]]]


def wins(results: SuiteResults) -> Wins | None:
    """Every comparison by benchmark and the tally by task; None where there is one benchmark only."""
    cells: dict[tuple[str, str], BenchmarkComparison] = {}
    for claim in results.judged:
        for entry in claim.per_benchmark:
            bench = results.benches.get(str(entry.get("benchmark")))
            if bench is not None and formatting.finite(entry.get("difference")) is not None:
                low, high = formatting.finite(entry.get("low")), formatting.finite(entry.get("high"))
                path = bench_path(results.name, results.scale, bench.name)
                row = BenchmarkComparison(claim, bench.title, path, bench.setting.task, entry["difference"], low, high,
                                 entry.get("n"))  # fmt: skip
                cells.setdefault((bench.name, claim.contrast), row)
    if len({place for place, _ in cells}) < 2:
        return None
    sides: dict[tuple[str, str], list[str]] = {}
    for row in cells.values():
        sides.setdefault((row.task, row.claim.contrast), []).append(row.side)
    tallies = [(*key, [own.count(side) for side in SIDES.values()]) for key, own in sides.items() if len(own) > 1]
    return Wins(list(cells.values()), tallies)


@dataclass(frozen=True, slots=True)
class Removal:
    """What happens when a part, or the cause, is removed.

    ``of_gain`` says that both sides of the claim were changed alike: the interval is then that of the gain which is
    left, and a cause whose removal leaves the gain is not the cause. Otherwise it is that of the changed arm minus the
    claim's arm.
    """

    label: str
    changed: str
    unit: str
    n: int
    difference: float
    low: float
    high: float
    of_gain: bool

    @property
    def tone(self) -> Tone:
        """On which side of zero the interval lies."""
        return formatting.side(self.low, self.high)


def removals(claim: Claim, rows: Sequence[Ablation]) -> list[Removal]:
    """The claim's gain under changes that both of its arms have, then the changes of its arm alone."""
    here = [row for row in rows if row.benchmark in claim.benchmarks]
    own = {(row.benchmark, row.changed): row for row in here if row.parent == claim.arm}
    theirs = {(row.benchmark, row.changed): row for row in here if row.parent == claim.against}
    shared = [key for key in own if key in theirs and not claim.design.get("log_ratio")]
    left = [removal for key in shared if (removal := _gain_left(claim, own[key], theirs[key])) is not None]
    alone = sorted(own.values(), key=lambda row: -abs(row.difference))[:INTERVENTIONS]
    return sorted(left, key=lambda removal: removal.label) + [
        Removal(row.contrast, row.changed, row.unit, row.n, row.difference, row.low, row.high, of_gain=False)
        for row in alone
    ]


def _gain_left(claim: Claim, own: Ablation, other: Ablation) -> Removal | None:
    """The paired t interval of the gain that is left, in the claim's direction; None where the metric is another."""
    if own.metric != claim.metric:
        return None
    entry: Mapping[str, Any] = next((e for e in claim.per_benchmark if e.get("benchmark") == own.benchmark), {})
    sign = claim.direction * (-1 if claim.fact.get("better") == "lower" else 1)  # ablations: up is better
    values = [
        gain + sign * (own.seeds[seed] - other.seeds[seed])
        for text, given in (entry.get("differences") or {}).items()
        if (gain := formatting.finite(given)) is not None and (seed := int(text)) in own.seeds and seed in other.seeds
    ]
    if len(values) < 2:
        return None
    test = paired_t(values)
    return Removal(f"{own.arm} − {other.arm}", own.changed, own.unit, test.n, test.estimate, test.low, test.high,
                   of_gain=True)  # fmt: skip
