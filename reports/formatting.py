"""Words and numbers as the pages show them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from harness.results.headlines import base_of as base_of
from harness.results.headlines import listed as listed
from harness.vocabulary import Tone, Verdict

MINUS = "−"

UNKNOWN = "unknown"
"""The tone of a verdict that this version does not know: the pages say so instead of showing it as not run."""


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """A verdict as the pages show it.

    Attributes:
        text: its word; of one that this version does not know it says so.
        tone: its CSS class and symbol.
        meaning: one clause on what it says.
        order: its place in a list of counts: that of the vocabulary, unknown ones last.
    """

    text: str
    tone: str
    meaning: str
    order: int


@cache
def shown(word: str) -> ShownVerdict:
    """How a stored verdict is shown, whatever stands in brackets behind it."""
    try:
        verdict = Verdict.of(word)
    except ValueError:
        return ShownVerdict(f"unknown verdict: {word}", UNKNOWN, "this version does not know it", len(Verdict))
    return ShownVerdict(word, verdict.tone, verdict.meaning, list(Verdict).index(verdict))


def finite(value: Any) -> float | None:
    """A number, or None where there is none (missing, NaN, infinite)."""
    if value is None or isinstance(value, (bool, str)):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def side(low: Any, high: Any) -> Tone:
    """The tone of an interval that lies above zero, below it, or on both sides (also where there is none)."""
    low, high = finite(low), finite(high)
    return Tone.HOLDS if low is not None and low > 0 else Tone.AGAINST if high is not None and high < 0 else Tone.OPEN


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
    """Seconds up to two minutes, then minutes, from two hours on hours."""
    known = finite(seconds)
    if known is None:
        return "–"
    if known < 120:
        return f"{number(known)} s"
    return f"{known / 60:.0f} min" if known < 7200 else f"{known / 3600:.1f} h"


def count(many: int, singular: str, plural: str | None = None) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number(many)} {singular if many == 1 else plural or singular + 's'}"


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
