"""Words and numbers as the pages show them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from harness.base.text import MINUS as MINUS
from harness.base.text import MISSING
from harness.base.text import count as count
from harness.base.text import interval as interval
from harness.base.text import listed as listed
from harness.base.text import number as number
from harness.base.text import probability as probability
from harness.base.text import score as score
from harness.base.text import setting as setting
from harness.judge.detail import EffectSize
from harness.results.verdict_text import UNKNOWN as UNKNOWN
from harness.results.verdict_text import base_of as base_of
from harness.vocabulary import Tone, Verdict


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """A verdict as the pages show it: text, CSS class, meaning, and place among counts."""

    text: str
    tone: str
    meaning: str
    order: int


@cache
def shown(word: str) -> ShownVerdict:
    """Text, tone and meaning of a stored verdict, with or without brackets."""
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


def present(value: float | None, show: Callable[[float], str] = number, unit: str = "") -> str | None:
    """A number with its unit as text; None where there is no finite number."""
    return f"{show(value)} {unit}".strip() if value is not None and math.isfinite(value) else None


def share(effect: EffectSize) -> str | None:
    """P(method better) with its interval; None without pairs."""
    if effect.share_better is None:
        return None
    ends = effect.share_ends
    if ends is None or ends.low is None or ends.high is None:
        return f"{effect.share_better:.2f}"
    return f"{effect.share_better:.2f} [{ends.low:.2f}, {ends.high:.2f}]"


def effect_size(effect: EffectSize) -> str | None:
    """d_z with its exact interval; None without one."""
    low, high = effect.d_z_low, effect.d_z_high
    ends = interval(-math.inf if low is None else low, math.inf if high is None else high)
    return None if effect.d_z is None else f"{number(effect.d_z)} {ends}"


def counts(*values: int) -> str | None:
    """Counts separated by commas; None where all are zero."""
    return ", ".join(map(str, values)) if any(values) else None


def side(low: Any, high: Any) -> Tone:
    """The tone of an interval above zero, below it, or neither."""
    low, high = finite(low), finite(high)
    return Tone.HOLDS if low is not None and low > 0 else Tone.AGAINST if high is not None and high < 0 else Tone.OPEN


def unit_of_difference(unit: str) -> str:
    """Two numbers in percent differ by points: by how many percent would say something else."""
    return "points" if unit == "percent" else unit


def moment(value: Any) -> str:
    """A UTC time to the minute."""
    if value is None:
        return MISSING
    when = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return f"{when:%Y-%m-%d %H:%M} UTC"


def duration(seconds: Any) -> str:
    """Seconds up to two minutes, then minutes, from two hours on hours."""
    existing = finite(seconds)
    if existing is None:
        return MISSING
    if existing < 120:
        return f"{number(existing)} s"
    return f"{existing / 60:.0f} min" if existing < 7200 else f"{existing / 3600:.1f} h"


STAND_IN = {
    "data:real": "other real data",
    "data:generated": "generated data",
    "model": "another model",
    "recipe": "another recipe",
}


def stand_in(parts: Any) -> str:
    """Changes of a scale against the paper, as text."""
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
    return MISSING if value is None else str(value)
