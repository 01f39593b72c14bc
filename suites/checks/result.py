"""The result of a check: two numbers, their relation and tolerance."""

from __future__ import annotations

from dataclasses import dataclass

from harness.stats.records import Relation, relation_holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The two sides of an identity or of an ordering.

    ``tolerance`` is the largest distance for ``equal``, the smallest for ``below`` and ``above``; ``detail`` has the
    parts of the two numbers, for reports.
    """

    ours: float
    theirs: float
    tolerance: float
    unit: str
    detail: str
    relation: Relation = "equal"

    @classmethod
    def zero(cls, value: float, tolerance: float, detail: str) -> Check:
        """An error that should vanish."""
        return cls(ours=value, theirs=0.0, tolerance=tolerance, unit="absolute", detail=detail)

    @classmethod
    def exact(cls, ours: float, theirs: float, unit: str, detail: str) -> Check:
        """Two numbers that should be equal exactly: counts and truths."""
        return cls(ours=ours, theirs=theirs, tolerance=0.0, unit=unit, detail=detail)

    @property
    def holds(self) -> bool:
        """True if the relation is met; false for NaN."""
        return relation_holds(self.ours, self.theirs, self.tolerance, self.relation)
