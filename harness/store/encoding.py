"""Values as the event log's JSON: one line each, with words for the numbers that JSON lacks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from harness.store.errors import StoreError


def utc_now() -> str:
    """This moment as the event log writes it, in UTC with microseconds."""
    return _iso(datetime.now(UTC))


def stamp() -> str:
    """This moment, for the name of a file."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def encode(value: Any) -> bytes:
    """One line of JSON for an event or a part of one; NaN and infinities become the strings NaN, Infinity, -Infinity.

    Half a surrogate pair, which no file and no table takes, becomes a question mark.

    Raises:
        StoreError: a value that JSON has no form for.
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        # Rare, so the walk over every value is paid only when there is something to replace.
        text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"), default=_plain)
    except TypeError as error:
        kind = f"a {value['kind']!r} event" if isinstance(value, dict) and "kind" in value else "a value"
        raise StoreError(f"{kind} cannot be written as JSON: {error}") from error
    if "\\ud" in text:  # an emoji, or half of a pair
        whole = json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
        text = json.dumps(json.loads(whole), separators=(",", ":"))
    return text.encode() + b"\n"


def _plain(value: Any) -> Any:
    """JSON form of what numpy, pathlib and datetime hand over."""
    if isinstance(value, datetime):
        return _iso(value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, torch tensors
        return _finite(value.tolist())
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def restored(value: Any) -> Any:
    """Plain data of the store with NaN and infinities as numbers."""
    return _changed(value, lambda item: float(item) if item in ("NaN", "Infinity", "-Infinity") else item)


def _finite(value: Any) -> Any:
    return _changed(value, _word)


def _word(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """Nested data with its innermost values changed."""
    if isinstance(value, Mapping):
        return {key: _changed(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_changed(item, change) for item in value]
    return change(value)
