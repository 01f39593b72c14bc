"""Comparison of two computed numbers as an identity or an ordering."""

import math
from typing import Literal

Relation = Literal["equal", "below", "above"]


def relation_holds(ours: float, theirs: float, tolerance: float, relation: str = "equal") -> bool:
    """Compare two numbers as an identity or an ordering.

    "equal" holds within the tolerance, "below" and "above" beyond it; none holds where a side is not finite.
    """
    if not (math.isfinite(ours) and math.isfinite(theirs)):
        return False
    distance = ours - theirs
    if relation == "equal":
        return abs(distance) <= tolerance
    return distance < -tolerance if relation == "below" else distance > tolerance
