"""The claims of a paper as its fact file has them."""

from typing import Literal

from pydantic import RootModel

from harness.suite.strict import Identifier, Strict

FactKind = Literal[
    "difference",
    "absolute",
    "ordering",
    "identity",
    "provenance",
    "reference",
    "mechanism",
    "intervention",
    "comparison",
]


class Published(Strict):
    """Numbers as printed."""

    method: float | None = None
    baseline: float | None = None
    difference: float | None = None
    computed_difference: float | None = None
    gain_difference: float | None = None


class PaperClaim(Strict):
    """One claim of a paper as its fact file has it."""

    id: Identifier
    suite: str
    benchmark: str
    model: str = ""
    metric: str
    unit: str
    better: Literal["higher", "lower"]
    method: str
    baseline: str
    published: Published
    gain_difference: float | None = None
    setting: str | None = None
    kind: FactKind
    statement: str
    source: str = ""
    trust: Literal["published", "derived", "third-party"] = "published"

    @property
    def _gain(self) -> float | None:
        """Difference of the gains over their baselines, in a mixed setting."""
        return self.published.gain_difference if self.published.gain_difference is not None else self.gain_difference

    @property
    def direction(self) -> int:
        """+1 if the claimed number is higher, −1 if lower (docs/verdicts.md)."""
        p = self.published
        printed = (self._gain if self.setting == "mixed" else None) or p.difference or p.computed_difference
        return (1 if printed > 0 else -1) if printed else (1 if self.better == "higher" else -1)

    @property
    def effect(self) -> float | None:
        """Signed published difference in the metric's unit, or None."""
        p = self.published
        if self.setting == "mixed":
            return self._gain
        return p.difference or (p.computed_difference if p.computed_difference is not None else p.difference)


class PaperClaims(RootModel[list[PaperClaim]]):
    """A claims file: a copy of the fact file's entries of one suite."""
