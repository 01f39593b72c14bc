"""Whether two computed numbers lie to each other as an identity or an ordering says."""

from __future__ import annotations

import math
from typing import Literal

Relation = Literal["equal", "below", "above"]


def relation_holds(ours: float, theirs: float, tolerance: float, relation: str = "equal") -> bool:
    """Whether two sides agree within the tolerance, or the first lies below or above the other by more than it.

    Never where a side is not a finite number.
    """
    if not (math.isfinite(ours) and math.isfinite(theirs)):
        return False
    distance = ours - theirs
    if relation == "equal":
        return abs(distance) <= tolerance
    return distance < -tolerance if relation == "below" else distance > tolerance
