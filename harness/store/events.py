"""The journal's events: what each kind holds, how it is checked, and how it becomes a line.

An event is checked when it is recorded, where its sender can still be told; what is in the journal is
then taken as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from harness.store.errors import StoreError
from harness.store.tables import FINAL, TABLES, UNFINISHED_OUTCOMES

VERSION = 1

Event = dict[str, Any]

_REQUIRED: dict[str, tuple[str, ...]] = {
    "session": (),
    "run": ("run",),
    "environment": ("environment_id", "info"),
    "planned": ("run_id", "trials"),
    "started": ("trial_id",),
    "heartbeat": ("trial_id",),
    "outcome": ("trial_id", "status"),
    "event": ("event_kind",),
    "claims": ("suite", "claims"),
    "verdicts": ("verdicts",),
    "sweep": ("row",),
    "sweep_point": ("row",),
    "abandoned": ("run_id",),
}

KINDS = tuple(_REQUIRED)

PASSING = frozenset({"heartbeat", "session", "started"})
"""Kinds whose loss with the power costs nothing; ``append`` does not wait for the disk."""

_SERIES_COLUMNS = ("step", "epoch", "value", "elapsed_seconds")


def utc_now() -> str:
    """This moment as the journal writes it, in UTC with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def encode(event: Any) -> bytes:
    """One line of JSON for an event or a part of one; NaN and infinities become the strings NaN, Infinity, -Infinity.

    Raises:
        StoreError: a value that JSON has no form for.
    """
    try:
        text = json.dumps(event, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        # Rare, so the walk over every value is paid only when there is something to replace.
        text = json.dumps(_finite(event), allow_nan=False, separators=(",", ":"), default=_plain)
    except TypeError as error:
        kind = f"a {event['kind']!r} event" if isinstance(event, dict) and "kind" in event else "a value"
        raise StoreError(f"{kind} cannot be written as JSON: {error}") from error
    return text.encode() + b"\n"


def _plain(value: Any) -> Any:
    """JSON form of what numpy, pathlib and datetime hand over."""
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, torch tensors
        return _finite(value.tolist())
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def check_event(event: Mapping[str, Any]) -> None:
    """Refuse an event that could not be ingested as its sender means it.

    Raises:
        StoreError: unknown kind, a missing part, an unknown column, or series of unequal length.
    """
    kind = event.get("kind")
    if kind not in _REQUIRED:
        raise StoreError(f"no event of kind {kind!r}; kinds are {', '.join(KINDS)}")
    missing = [key for key in _REQUIRED[kind] if event.get(key) is None]
    if missing:
        raise StoreError(f"a {kind!r} event needs {', '.join(missing)}")
    for table, key, rows in _rows_of(event):
        _check_columns(kind, table, key, rows)
    if kind == "outcome":
        _check_outcome(event)


def _rows_of(event: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """Which parts of the event are rows of which table."""
    kind = event["kind"]
    if kind == "run":
        return [("runs", "run", [event["run"]])]
    if kind == "planned":
        return [("trials", "trials", event["trials"]), ("run_trials", "links", event.get("links") or [])]
    if kind == "outcome":
        return [
            ("results", "results", event.get("results") or []),
            ("artifacts", "artifacts", event.get("artifacts") or []),
        ]
    if kind == "claims":
        return [("claims", "claims", event["claims"])]
    if kind == "verdicts":
        return [
            ("verdicts", "verdicts", event["verdicts"]),
            ("verdict_trials", "trials", event.get("trials") or []),
            ("gates", "gates", event.get("gates") or []),
        ]
    if kind in ("sweep", "sweep_point"):
        return [(f"{kind}s", "row", [event["row"]])]
    return []


_GIVEN: dict[str, tuple[str, ...]] = {
    "runs": ("run_id",),
    "trials": ("trial_id",),
    "run_trials": ("trial_id", "benchmark", "arm"),
    "results": ("split", "metric"),
    "artifacts": ("name",),
    "claims": ("claim_id",),
    "verdicts": ("claim_id",),
    "verdict_trials": ("claim_id", "trial_id", "side"),
    "gates": ("claim_id",),
    "sweeps": ("sweep_id",),
    "sweep_points": ("sweep_id", "arm", "number"),
}
"""What a row must bring along itself; the rest of its key comes from the event around it."""


def _check_columns(kind: str, table: str, key: str, rows: Any) -> None:
    columns = TABLES[table]
    for row in rows:
        if not isinstance(row, Mapping):
            raise StoreError(f"{key} of a {kind!r} event holds a {type(row).__name__} where a row is expected")
        for name in row:
            if name not in columns:
                near = get_close_matches(str(name), columns, n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; columns are {', '.join(columns)}"
                raise StoreError(f"{table} has no column {name!r} (a {kind!r} event){hint}")
        missing = [name for name in _GIVEN[table] if row.get(name) is None]
        if missing:
            raise StoreError(f"a row of {table} (a {kind!r} event) needs {', '.join(missing)}")


def _check_outcome(event: Mapping[str, Any]) -> None:
    allowed = FINAL | UNFINISHED_OUTCOMES
    if event["status"] not in allowed:
        raise StoreError(f"an outcome's status is one of {', '.join(sorted(allowed))}, not {event['status']!r}")
    for series in event.get("series") or []:
        if series.get("name") is None or series.get("value") is None:
            raise StoreError(f"a series of trial {event['trial_id']} needs a name and values")
        lengths = {key: len(series[key]) for key in _SERIES_COLUMNS if series.get(key) is not None}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise StoreError(f"series {series['name']!r} of trial {event['trial_id']} has unequal lengths: {told}")
