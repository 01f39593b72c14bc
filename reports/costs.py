"""Cost against gain: what a method's step takes beside its comparator's, and what it brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.store import Reader
from reports import sql, words
from reports.addresses import bench_path
from reports.reading import Claim, Gathered, Row


@dataclass(frozen=True, slots=True)
class Cost:
    """One comparison on one benchmark: ratios to the comparator, and the gain in the claim's direction."""

    title: str
    path: str
    claim: Claim
    step_ms: float | None
    step_ratio: float | None
    memory_mb: float | None
    memory_ratio: float | None
    joules: float | None
    joules_ratio: float | None
    gain: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Costs:
    """The suite's costs with their statement; ``rows`` is empty where no run measured any."""

    rows: Sequence[Cost]
    sql: str


def costs(reader: Reader, found: Gathered) -> Costs:
    """Costs of every judged comparison whose two arms ran one at a time."""
    bodies = {bench.name: bench.body for bench in found.benches.values()}
    asked = sql.ask(reader, sql.costs_of(sql.together(bodies), "benchmark, arm"))
    known: dict[tuple[str, str], Row] = {(row["benchmark"], row["arm"]): row for row in asked.rows}
    rows: dict[tuple[str, str], Cost] = {}
    for claim in found.judged:
        for entry in claim.design.get("per_benchmark") or ():
            place = str(entry.get("benchmark")) if isinstance(entry, Mapping) else ""
            ours, theirs = known.get((place, claim.arm)), known.get((place, claim.against))
            if ours is not None and theirs is not None and place in found.benches:
                rows.setdefault((place, claim.contrast), _cost(found, place, claim, ours, theirs, entry))
    return Costs(list(rows.values()), asked.sql)


def _cost(found: Gathered, place: str, claim: Claim, ours: Row, theirs: Row, entry: Mapping[str, Any]) -> Cost:
    def both(key: str) -> tuple[float | None, float | None]:
        own, other = words.finite(ours.get(key)), words.finite(theirs.get(key))
        return own, own / other if own is not None and other else None

    return Cost(found.benches[place].title, bench_path(found.name, found.scale, place), claim, *both("step_ms"),
                *both("peak_memory_mb"), *both("joules"), entry)  # fmt: skip
