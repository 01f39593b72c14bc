"""Values as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any, named: bool = False) -> Any:
    """A value as JSON has it: times as text; infinities and NaN as null, or ``named``: as text, as in ``-Infinity``."""
    if isinstance(value, float) and not math.isfinite(value):
        name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return name if named else None
    if isinstance(value, Mapping):
        return {str(key): plain(item, named) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, named) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
