"""The small scatter under a claim: the mechanism's quantity against the gain, drawn as a path of dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports import formatting
from reports.data.claims import Claim
from reports.data.doses import DoseAndGain
from reports.figures.benchmark import spearman

WIDTH, HEIGHT = 220.0, 110.0
"""Of the drawing, in its own units."""
MOST = 120
"""Points drawn, evenly chosen of more; the correlation is over all."""


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
            f"{self.ends[2]} to {self.ends[3]}, {formatting.count(self.points, 'trial')} of "
            f"{formatting.count(self.arms, 'arm')}: rank correlation {formatting.number(self.rank, 2)}."
        )


def scatter(claim: Claim, given: DoseAndGain) -> Scatter:
    """A claim's doses and gains as dots."""
    doses, gains = [dose for _, dose, _ in given.points], [gain for _, _, gain in given.points]
    across, up = _range(doses), _range([*gains, 0.0])

    def at(dose: float, gain: float) -> tuple[float, float]:
        return (6 + (WIDTH - 12) * (dose - across[0]) / (across[1] - across[0]),
                HEIGHT - 6 - (HEIGHT - 12) * (gain - up[0]) / (up[1] - up[0]))  # fmt: skip

    def path(own: bool) -> str:
        chosen = [at(dose, gain) for arm, dose, gain in given.points if (arm == claim.arm) is own]
        return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in chosen[:: max(1, len(chosen) * 2 // MOST)])

    ends = (formatting.number(min(doses)), formatting.number(max(doses)),
            formatting.number(min(gains), sign=True), formatting.number(max(gains), sign=True))  # fmt: skip
    arms = len({arm for arm, _, _ in given.points})
    return Scatter(given.metric, claim.against, path(True), path(False), round(at(doses[0], 0.0)[1], 1), ends,
                   spearman(doses, gains), len(given.points), arms, given.sql)  # fmt: skip


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
