"""Text of numbers: the same in the terminal, on the pages, in Markdown and in LaTeX."""

import math

MINUS = "−"
MISSING = "–"
"""Printed for a number that does not exist (missing or NaN)."""

THIN_SPACE = "\u202f"
"""Separates thousands of whole numbers: narrow, and no line breaks there."""


def number(value: float | str | None, digits: int = 3, sign: bool = False) -> str:
    """A number with ``digits`` significant digits and a true minus; ``sign``: print a plus too.

    The text has no exponent between 1e-4 and 1e6, and every digit before the decimal point is shown. An int is printed
    whole, a bool as ``yes`` or ``no``; text, None and NaN give :data:`MISSING`.
    """
    if value is None or isinstance(value, str) or math.isnan(value):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    plus = "+" if sign else ""
    if isinstance(value, int):
        return f"{value:{plus},}".replace("-", MINUS).replace(",", THIN_SPACE)
    size = abs(value)
    if size and not 1e-4 <= size < 1e6:
        text = f"{value:{plus}.{digits - 1}e}"
    else:
        places = max(0, digits - 1 - (math.floor(math.log10(size)) if size else 0))
        text = f"{value:{plus}.{min(places, 6)}f}"
    return text.replace("-", MINUS)


def score(value: float | str | None) -> str:
    """A final score with four significant digits."""
    return number(value, 4)


def setting(value: float | str | None) -> str:
    """A number that people chose, as they wrote it: 0.05, 9, 1e-05."""
    return number(value) if value is None or isinstance(value, str) else f"{value:g}".replace("-", MINUS)


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """``[low, high]`` with signs; :data:`MISSING` unless both ends exist."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return MISSING
    return f"[{number(low, digits, sign=True)}, {number(high, digits, sign=True)}]"


def probability(value: float | None) -> str:
    """A p value with three decimals."""
    if value is None or math.isnan(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(many: int, singular: str, plural: str | None = None) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number(many)} {singular if many == 1 else plural or singular + 's'}"


def listed(items: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
