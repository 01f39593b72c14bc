"""What a suite's page says beyond single claims: wins and losses over benchmarks, and what removing a part does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.stats import paired_t
from reports import words
from reports.ablations import Ablation
from reports.addresses import bench_path
from reports.forest import Mark, axis_of
from reports.reading import Claim, Gathered

INTERVENTIONS = 4


def wins(found: Gathered) -> dict[str, Any] | None:
    """Every comparison by benchmark, on which side its interval lies, and the tally by task; None for one benchmark."""
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for claim in found.judged:
        for entry in claim.design.get("per_benchmark") or ():
            place = str(entry.get("benchmark")) if isinstance(entry, Mapping) else ""
            if place in found.benches and words.finite(entry.get("difference")) is not None:
                cells.setdefault((place, claim.contrast), {
                    "claim": claim, "contrast": claim.contrast, "unit": claim.unit, "side": _side(entry),
                    "title": found.benches[place].title, "path": bench_path(found.name, found.scale, place),
                    "task": found.plan.settings[place].task, "difference": entry["difference"],
                    "low": words.finite(entry.get("low")), "high": words.finite(entry.get("high")),
                    "n": entry.get("n"),
                })  # fmt: skip
    if len({place for place, _ in cells}) < 2:
        return None
    tallies: dict[tuple[str, str], dict[str, Any]] = {}
    for row in cells.values():
        tally = tallies.setdefault((row["task"], row["contrast"]), {
            "task": row["task"], "contrast": row["contrast"], "ahead": 0, "behind": 0, "not clear": 0})  # fmt: skip
        tally[row["side"][1]] += 1
    several = [tally for tally in tallies.values() if tally["ahead"] + tally["behind"] + tally["not clear"] > 1]
    return {"rows": list(cells.values()), "tallies": several}


def _side(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Tone and word: on which side of zero the interval lies, the claim's direction being ahead."""
    low, high = words.finite(entry.get("low")), words.finite(entry.get("high"))
    if low is not None and low > 0:
        return "holds", "ahead"
    return ("against", "behind") if high is not None and high < 0 else ("open", "not clear")


@dataclass(frozen=True, slots=True)
class Removed:
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
    mark: Mark
    zero: float

    @property
    def tone(self) -> str:
        """On which side of zero the interval lies."""
        return words.side(self.low, self.high)


def removed(claim: Claim, rows: Sequence[Ablation]) -> list[Removed]:
    """The claim's gain under changes that both of its arms have, then the changes of its arm alone."""
    here = [row for row in rows if row.benchmark in claim.benchmarks]
    own = {(row.benchmark, row.changed): row for row in here if row.parent == claim.arm}
    theirs = {(row.benchmark, row.changed): row for row in here if row.parent == claim.against}
    found: list[tuple[str, Ablation, Any, bool]] = []
    for key in own.keys() & theirs.keys() if not claim.design.get("log_ratio") else ():
        left = _left(claim, own[key], theirs[key])
        if left is not None:
            found.append((f"{own[key].arm} − {theirs[key].arm}", own[key], left, True))
    found.sort(key=lambda one: one[0])
    alone = sorted((row for row in own.values()), key=lambda row: -abs(row.difference))[:INTERVENTIONS]
    found += [(f"{row.arm} − {row.parent}", row, row, False) for row in alone]
    axis = axis_of([(one.estimate, one.low, one.high) if of_gain else (one.difference, one.low, one.high)
                    for _, _, one, of_gain in found])  # fmt: skip
    views = []
    for name, row, one, of_gain in found:
        middle = one.estimate if of_gain else one.difference
        views.append(Removed(name, row.changed, row.unit, one.n, middle, one.low, one.high, of_gain,
                             Mark.of(axis, middle, one.low, one.high), axis.zero))  # fmt: skip
    return views


def _left(claim: Claim, own: Ablation, other: Ablation) -> Any:
    """The paired t interval of the gain that is left, in the claim's direction; None where the metric is another."""
    if own.metric != claim.metric:
        return None
    entries = [one for one in claim.design.get("per_benchmark") or () if isinstance(one, Mapping)]
    gains = next((one.get("differences") for one in entries if one.get("benchmark") == own.benchmark), None)
    sign = claim.direction * (-1 if claim.fact.get("better") == "lower" else 1)  # ablations: up is better
    values = [
        gain + sign * (own.seeds[seed] - other.seeds[seed])
        for text, given in (gains or {}).items()
        if (gain := words.finite(given)) is not None and (seed := int(text)) in own.seeds and seed in other.seeds
    ]
    return paired_t(values) if len(values) > 1 else None
