"""Words and numbers as the pages show them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MINUS = "−"


@dataclass(frozen=True, slots=True)
class Tone:
    """How a verdict looks: ``name`` is its CSS class and symbol, ``order`` its place in a list of counts."""

    name: str
    order: int
    meaning: str


_HOLDS = "the adjusted p is at most α and the whole interval lies on the claimed side"
VERDICTS: dict[str, Tone] = {
    "reproduced": Tone("holds", 0, f"{_HOLDS}; the estimate reaches κ times the published size"),
    "direction confirmed": Tone("holds", 1, f"{_HOLDS}; the size is not judged here"),
    "holds": Tone("holds", 2, "both sides were computed and agree within the tolerance"),
    "direction only": Tone("part", 3, f"{_HOLDS}; the estimate is below κ times the published size"),
    "inconclusive": Tone("open", 4, "the trials decide neither way"),
    "undecided": Tone("open", 5, "the trials decide neither way"),
    "not reproduced": Tone("null", 6, "an effect of the smallest size of interest is excluded"),
    "no effect worth having": Tone("null", 7, "an effect of the smallest size of interest is excluded"),
    "contradicted": Tone("against", 8, "the whole interval lies on the other side"),
    "direction reversed": Tone("against", 9, "the whole interval lies on the other side"),
    "fails": Tone("against", 10, "both sides were computed and disagree beyond the tolerance"),
    "inactive": Tone("idle", 11, "the claim's mechanism did not act, so its score says nothing"),
    "weak baseline": Tone("void", 12, "the baseline is below its stated competent figure"),
    "invalid": Tone("void", 13, "the trials do not allow a verdict"),
    "not comparable": Tone("void", 14, "a number of another setting"),
    "reported": Tone("void", 15, "known from the authors' files alone; listed, never verified"),
    "not run": Tone("void", 16, "no trials, for the reason given"),
}  # fmt: skip
"""Every verdict of the judge; a verdict with an addition in brackets counts as the word before it."""

JUDGED = ("holds", "part", "open", "null", "against", "idle")


def base_of(verdict: str) -> str:
    """The verdict without what stands in brackets."""
    return verdict.partition(" (")[0].strip()


def tone_of(verdict: str) -> Tone:
    """How a verdict looks; an unknown one looks like one that was not given."""
    return VERDICTS.get(base_of(verdict), Tone("void", 99, ""))


def finite(value: Any) -> float | None:
    """A number, or None where there is none (missing, NaN, infinite)."""
    if value is None or isinstance(value, (bool, str)):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def side(low: Any, high: Any) -> str:
    """On which side of zero an interval lies: ``holds`` above, ``against`` below, ``open`` otherwise or without one."""
    low, high = finite(low), finite(high)
    return "holds" if low is not None and low > 0 else "against" if high is not None and high < 0 else "open"


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    """Three significant digits, a true minus, never an exponent between 1e-4 and 1e6; '–' where there is none."""
    if value is None or isinstance(value, str) or math.isnan(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if isinstance(value, int):
        return f"{value:{'+' if sign else ''},}".replace("-", MINUS).replace(",", "\u202f")
    size = abs(value)
    if size and not 1e-4 <= size < 1e6:
        text = f"{value:{'+' if sign else ''}.{digits - 1}e}"
    else:
        places = max(0, digits - 1 - (math.floor(math.log10(size)) if size else 0))
        text = f"{value:{'+' if sign else ''}.{min(places, 6)}f}"
    return text.replace("-", MINUS)


def setting(value: Any) -> str:
    """A number that people chose, as they wrote it: 0.05, 9, 1e-05."""
    return number(value) if value is None or isinstance(value, str) else f"{value:g}".replace("-", MINUS)


def score(value: Any) -> str:
    """A final number as tables of papers print it: four significant digits."""
    return number(value, 4)


def interval(low: Any, high: Any, digits: int = 3) -> str:
    """Both ends, or '–'."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "–"
    return f"[{number(low, digits, sign=True)}, {number(high, digits, sign=True)}]"


def unit_of_difference(unit: str) -> str:
    """Two numbers in percent differ by points: by how many percent would say something else."""
    return "points" if unit == "percent" else unit


def probability(value: Any) -> str:
    """A p value."""
    if value is None or math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def moment(value: Any) -> str:
    """A UTC time to the minute."""
    if value is None:
        return "–"
    when = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return f"{when:%Y-%m-%d %H:%M} UTC"


def duration(seconds: Any) -> str:
    """Seconds as people say them."""
    found = finite(seconds)
    if found is None:
        return "–"
    if found < 120:
        return f"{number(found)} s"
    return f"{found / 60:.0f} min" if found < 7200 else f"{found / 3600:.1f} h"


def count(many: int, one: str, more: str | None = None) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number(many)} {one if many == 1 else more or one + 's'}"


def listed(words: list[str], last: str = "and") -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


STAND_IN = {
    "data:real": "other real data",
    "data:generated": "generated data",
    "model": "another model",
    "recipe": "another recipe",
}


def stand_in(parts: Any) -> str:
    """What a scale changed against the paper, in words."""
    return listed([STAND_IN.get(str(part), str(part)) for part in parts or ()])


def short(text: str, limit: int = 90) -> str:
    """A text cut at a word."""
    if len(text) <= limit:
        return text
    return text[: limit - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"


def plain(value: Any) -> str:
    """A setting's value as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(plain(item) for item in value) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)
