"""What a check returns: two numbers, how they should compare, and by how much they may miss."""

from __future__ import annotations

from dataclasses import dataclass

from harness.stats.agreement import Relation, relation_holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The two sides of an identity or of an ordering.

    Attributes:
        ours: what the code under test gives.
        theirs: what it is compared with: another code path, a formula, or a printed number.
        tolerance: ``equal`` holds within it, both sides included; ``below`` and ``above`` want a larger distance.
        unit: of both sides.
        detail: the parts behind the two numbers, for the reader of a report.
        relation: how ``ours`` should lie to ``theirs``.
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
        """Two numbers that should be the same to the last bit: counts, and truths as 0 and 1."""
        return cls(ours=ours, theirs=theirs, tolerance=0.0, unit=unit, detail=detail)

    @property
    def holds(self) -> bool:
        """Whether the relation is met; never where a side is not a number."""
        return relation_holds(self.ours, self.theirs, self.tolerance, self.relation)
