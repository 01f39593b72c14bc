"""Does the dose predict the gain? A small scatter under each claim: the mechanism's quantity against the gain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.store import Reader
from reports import sql, words
from reports.drawings import spearman
from reports.reading import Claim, Gathered

WIDTH, HEIGHT = 220.0, 110.0
"""Of the drawing, in its own units."""
MOST = 120
"""Points drawn, evenly chosen of more; the correlation is over all."""
Cell = tuple[str, int]
Scores = Mapping[Cell, float]


@dataclass(frozen=True, slots=True)
class Scatter:
    """Points of a dose (across) and a gain (up), one a trial.

    Attributes:
        own: the claim's own arm as an SVG path of dots; ``others`` all further arms.
        zero: height of a gain of zero.
        ends: words for the least and the largest dose, the least and the largest gain.
        rank: Spearman's correlation over all points.
    """

    metric: str
    against: str
    own: str
    others: str
    zero: float
    ends: tuple[str, str, str, str]
    rank: float
    points: int
    arms: int
    sql: str

    @property
    def alt(self) -> str:
        """The drawing in words."""
        return (
            f"{self.metric} from {self.ends[0]} to {self.ends[1]} against the gain over {self.against} from "
            f"{self.ends[2]} to {self.ends[3]}, {words.count(self.points, 'trial')} of "
            f"{words.count(self.arms, 'arm')}: rank correlation {words.number(self.rank, 2)}."
        )


@dataclass(frozen=True, slots=True)
class Results:
    """Final numbers of a suite's trials: (benchmark, split, metric) to (arm, seed) to value."""

    values: Mapping[tuple[str, str, str], Scores]

    def of(self, benchmark: str, metric: str, split: str | None = None) -> Scores:
        """One metric on one benchmark; without a split the first that has it, test before the others."""
        for one in (split,) if split is not None else ("test", "train", "validation"):
            if found := self.values.get((benchmark, one, metric)):
                return found
        return {}


def read_results(reader: Reader, found: Gathered) -> Results:
    """What the claims with a gate need, in one question."""
    gated = [claim for claim in found.judged if claim.gates]
    names = sorted({str(gate["metric"]) for claim in gated for gate in claim.gates} | {c.metric for c in gated})
    bodies = {bench.name: bench.body for bench in found.benches.values()}
    if not names or not bodies:
        return Results({})
    values: dict[tuple[str, str, str], dict[Cell, float]] = defaultdict(dict)
    for row in sql.ask(reader, sql.metrics_of(sql.together(bodies), names)).rows:
        if (value := words.finite(row["value"])) is not None:
            values[row["benchmark"], row["split"], row["metric"]][row["arm"], row["seed"]] = value
    return Results(values)


def scatter(found: Gathered, results: Results, claim: Claim) -> Scatter | None:
    """A claim's scatter: every arm's trials on its first benchmark, their gain over the comparator at their seed.

    None where fewer than three doses differ, or the claim has no gate or is one of several benchmarks' domains.
    """
    if not claim.gates or not claim.benchmarks or claim.benchmarks[0] not in found.benches:
        return None
    place, gate = claim.benchmarks[0], claim.gates[0]
    about = found.suite.benchmarks[place].model.metrics.get(claim.metric)
    scores = results.of(place, claim.metric, about.split if about else None)
    doses = results.of(place, str(gate["metric"]))
    points = []
    for (arm, seed), score in scores.items():
        base = scores.get((claim.against, seed))
        # A quantity that one arm alone has, such as the teacher's lead, is the dose of all arms of a seed.
        dose = doses.get((arm, seed), doses.get((str(gate["arm"]), seed)))
        if arm != claim.against and base is not None and dose is not None:
            points.append((arm, dose, claim.direction * (score - base)))
    if len({dose for _, dose, _ in points}) < 3:
        return None
    return _drawn(claim, str(gate["metric"]).removeprefix("mechanism."), points,
                  sql.metrics_of(found.benches[place].body, [str(gate["metric"]), claim.metric]))  # fmt: skip


def _drawn(claim: Claim, metric: str, points: Sequence[tuple[str, float, float]], text: str) -> Scatter:
    xs, ys = [x for _, x, _ in points], [y for _, _, y in points]
    across, up = _range(xs), _range([*ys, 0.0])

    def at(x: float, y: float) -> tuple[float, float]:
        return (6 + (WIDTH - 12) * (x - across[0]) / (across[1] - across[0]),
                HEIGHT - 6 - (HEIGHT - 12) * (y - up[0]) / (up[1] - up[0]))  # fmt: skip

    def path(own: bool) -> str:
        chosen = [(x, y) for arm, x, y in points if (arm == claim.arm) is own]
        step = max(1, len(chosen) * 2 // MOST)
        return "".join(f"M{px:.1f} {py:.1f}h0" for px, py in (at(x, y) for x, y in chosen[::step]))

    return Scatter(
        metric, claim.against, path(True), path(False), round(at(xs[0], 0.0)[1], 1),
        (words.number(min(xs)), words.number(max(xs)), words.number(min(ys), sign=True),
         words.number(max(ys), sign=True)),
        spearman(xs, ys), len(points), len({arm for arm, _, _ in points}), text,
    )  # fmt: skip


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
