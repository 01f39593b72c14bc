"""Cost against gain: what a method's step takes beside its comparator's, and what it brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.store import Reader
from reports import formatting
from reports.data import sql
from reports.data.claims import Claim
from reports.data.sql import Row
from reports.data.suite_results import SuiteResults
from reports.links import bench_path


@dataclass(frozen=True, slots=True)
class Cost:
    """One comparison on one benchmark: costs with their ratios to the comparator, and the gain of the claim.

    Attributes:
        step_ms: milliseconds a step.
        memory_mb: megabytes at the peak.
        joules: of a trial.
        gain: what the judge computed on the benchmark, in the claim's direction.
    """

    title: str
    path: str
    claim: Claim
    step_ms: tuple[float | None, float | None]
    memory_mb: tuple[float | None, float | None]
    joules: tuple[float | None, float | None]
    gain: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Costs:
    """The suite's costs with their statement; ``rows`` is empty where no run measured any."""

    rows: Sequence[Cost]
    sql: str


def costs(reader: Reader, results: SuiteResults) -> Costs:
    """Costs of every judged comparison whose two arms ran one at a time."""
    asked = sql.ask(reader, sql.costs_of(sql.together(results.bodies), "benchmark, arm"))
    known = {(row["benchmark"], row["arm"]): row for row in asked.rows}
    rows: dict[tuple[str, str], Cost] = {}
    for claim in results.judged:
        for entry in claim.per_benchmark:
            place = str(entry.get("benchmark"))
            ours, theirs = known.get((place, claim.arm)), known.get((place, claim.against))
            if ours is not None and theirs is not None and place in results.benches:
                step, memory, joules = (_beside(ours, theirs, key) for key in ("step_ms", "peak_memory_mb", "joules"))
                path = bench_path(results.name, results.scale, place)
                cost = Cost(results.benches[place].title, path, claim, step, memory, joules, entry)
                rows.setdefault((place, claim.contrast), cost)
    return Costs(list(rows.values()), asked.sql)


def _beside(ours: Row, theirs: Row, key: str) -> tuple[float | None, float | None]:
    """An arm's cost, and its ratio to that of the comparator."""
    own, other = formatting.finite(ours.get(key)), formatting.finite(theirs.get(key))
    return own, own / other if own is not None and other else None
