"""Conversion of plain values: text to number, value to name, nested to flat."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

ValueT = TypeVar("ValueT")


def number_of(value: Any, missing: Collection[str] = ()) -> float | None:
    """A value as a number: of text too, with a true minus sign or not.

    NaN for None and for a text of ``missing`` (in lower case); None for anything else, truth values included.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip().lower().replace("−", "-")
        if text in missing:
            return math.nan
        value = "" if "_" in text else text  # Python would read 1_000
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def name_of(value: Any) -> str:
    """A value as a name: whole numbers without a fraction, since tables store seeds as floats; '' for a missing one."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and value.endswith(".0") and value[:-2].lstrip("-").isdecimal():
        return value[:-2]
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def names_in(values: Iterable[Any]) -> list[str]:
    """The distinct values of a column as names, in their order."""
    return list(dict.fromkeys(map(name_of, values)))


def flat(nested: Mapping[str, ValueT], before: str = "") -> Iterator[tuple[str, ValueT]]:
    """The leaves of nested mappings with dotted names: ``optimizer.lr``."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def texts_of(nested: Mapping[str, ValueT]) -> dict[str, str]:
    """The leaves of nested mappings as text by dotted name."""
    return {name: "" if value is None else str(value) for name, value in flat(nested)}


def plain(value: Any, named: bool = False) -> Any:
    """Return a value as JSON has it; infinities and NaN as null, or ``named``: as text."""
    if isinstance(value, float) and not math.isfinite(value):
        name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return name if named else None
    if isinstance(value, Mapping):
        return {str(key): plain(item, named) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, named) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
