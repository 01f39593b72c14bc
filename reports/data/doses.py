"""Does the dose predict the gain? The mechanism's quantity and the gain of every trial, claim by claim."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.store import Reader
from reports import formatting
from reports.data import sql
from reports.data.claims import Claim
from reports.data.suite_results import SuiteResults

Scores = Mapping[tuple[str, int], float]
"""Values by (arm, seed)."""


@dataclass(frozen=True, slots=True)
class FinalNumbers:
    """Final numbers of a suite's trials: (benchmark, split, metric) to (arm, seed) to value."""

    values: Mapping[tuple[str, str, str], Scores]

    def of(self, benchmark: str, metric: str, split: str | None = None) -> Scores:
        """One metric on one benchmark; without a split the first that has it, test before the others."""
        for one in (split,) if split is not None else ("test", "train", "validation"):
            if scores := self.values.get((benchmark, one, metric)):
                return scores
        return {}


@dataclass(frozen=True, slots=True)
class DoseAndGain:
    """The doses of a mechanism and the gains of a claim, one of each a trial.

    Attributes:
        points: (arm, dose, gain over the comparator at the same seed).
        sql: the statement that gave them.
    """

    metric: str
    points: Sequence[tuple[str, float, float]]
    sql: str


def final_numbers(reader: Reader, results: SuiteResults) -> FinalNumbers:
    """The metrics of the claims that have a gate, and of their gates, in one question."""
    gated = [claim for claim in results.judged if claim.gates]
    names = sorted({str(gate["metric"]) for claim in gated for gate in claim.gates} | {c.metric for c in gated})
    if not names or not results.benches:
        return FinalNumbers({})
    values: dict[tuple[str, str, str], dict[tuple[str, int], float]] = defaultdict(dict)
    for row in sql.ask(reader, sql.metrics_of(sql.together(results.bodies), names)).rows:
        if (value := formatting.finite(row["value"])) is not None:
            values[row["benchmark"], row["split"], row["metric"]][row["arm"], row["seed"]] = value
    return FinalNumbers(values)


def dose_and_gain(results: SuiteResults, numbers: FinalNumbers, claim: Claim) -> DoseAndGain | None:
    """Every arm's trials on a claim's first benchmark, their gain over the comparator at their seed.

    None where fewer than three doses differ, or the claim has no gate or is one of several benchmarks' domains.
    """
    if not claim.gates or not claim.benchmarks or claim.benchmarks[0] not in results.benches:
        return None
    bench, gate = results.benches[claim.benchmarks[0]], claim.gates[0]
    about = bench.metrics.get(claim.metric)
    scores = numbers.of(bench.name, claim.metric, about.split if about else None)
    doses = numbers.of(bench.name, str(gate["metric"]))
    points = []
    for (arm, seed), score in scores.items():
        base = scores.get((claim.against, seed))
        # A quantity that one arm alone has, such as the teacher's lead, is the dose of all arms of a seed.
        dose = doses.get((arm, seed), doses.get((str(gate["arm"]), seed)))
        if arm != claim.against and base is not None and dose is not None:
            points.append((arm, dose, claim.direction * (score - base)))
    if len({dose for _, dose, _ in points}) < 3:
        return None
    statement = sql.metrics_of(bench.body, [str(gate["metric"]), claim.metric])
    return DoseAndGain(str(gate["metric"]).removeprefix("mechanism."), points, statement)
