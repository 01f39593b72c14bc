"""Command and results of a trial that is an external program.

Its task is not a ``Task``: its metadata has ``program=True`` and names a function
``run(spec, runtime) -> TrainingResult``.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from harness.base.values import flat
from harness.errors import HarnessError, choices
from harness.trial.options import Values

SOURCES = ("lines", "output", "csv", "tensorboard", "pattern")
"""Ways in which numbers come back."""
KEYS = (*SOURCES, "names", "final", "step", "split")
SPLITS = ("train", "validation", "test")
PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def words_of(command: Any) -> list[str]:
    """Split a command into words: a list stays as it is, a text is split as by a shell; no shell reads it.

    Raises:
        HarnessError: it is neither, or empty, or has an open quotation.
    """
    if isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise HarnessError(f"the command '{command}': {error}") from None
    elif isinstance(command, list | tuple) and not any(isinstance(word, list | tuple | dict) for word in command):
        words = [as_argument(word) for word in command]
    else:
        raise HarnessError("a command is a list of words or a text, as in [python, train.py, --seed, '{seed}']")
    if not words:
        raise HarnessError("the command is empty")
    return words


def placeholders(text: str) -> list[str]:
    """Return the names in braces; doubled braces are braces."""
    return [place.group(1) for place in PLACE.finditer(text) if place.group(1) is not None]


def filled(text: str, values: Values) -> str:
    """Replace each ``{name}`` of a text.

    Raises:
        HarnessError: an unknown name.
    """

    def put(place: re.Match[str]) -> str:
        name = place.group(1)
        if name is None:
            return place.group(0)[0]
        if name not in values:
            raise HarnessError(f"'{text}': unknown '{{{name}}}'; {choices(values, name)}")
        return as_argument(values[name])

    return PLACE.sub(put, text)


def as_argument(value: Any) -> str:
    """A value as a command line writes it: ``true``, ``0.001``."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def known_values(recipe: Values, seed: int, folder: str, data: str) -> Values:
    """Return the values that a command may name: ``{seed}``, ``{folder}``, ``{data}``, ``{steps}`` and ``{arm.KEY}``.

    ``{steps}`` is the recipe's length, or less where a sweep or a smoke test cuts it.
    """
    named = Values({"seed": seed, "folder": folder, "data": data})
    if recipe.get("steps") is not None:
        named["steps"] = min(recipe["steps"], recipe.get("max_steps") or recipe["steps"])
    values = recipe.get("values")
    named.update((f"arm.{key}", value) for key, value in flat(values if isinstance(values, Mapping) else {}))
    return named


def final_of(value: object) -> tuple[str, str] | None:
    """Parse the record that is final: (``last``, ''), (``max``, NAME) or (``min``, NAME); None for anything else."""
    if value == "last":
        return "last", ""
    if isinstance(value, Mapping) and len(value) == 1:
        ((way, name),) = value.items()
        if way in ("max", "min") and isinstance(name, str):
            return str(way), name
    return None


def result_problems(results: Values) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each problem of ``results:``, with its place below that key."""
    for key, value in results.items():
        if key not in KEYS:
            yield (key,), f"unknown key '{key}'; {choices(KEYS, key)}"
        elif key == "pattern":
            for text in value if isinstance(value, list | tuple) else [value]:
                yield from (((key,), message) for message in _pattern_problems(text))
        elif key == "names" and not (isinstance(value, Mapping) and all(isinstance(v, str) for v in value.values())):
            yield (key,), "'names' is a mapping: {metric: the program's name for it}"
        elif key == "output" and value != "json":
            yield (key,), "'output' is 'json': objects among the lines that it prints"
        elif key == "final" and final_of(value) is None:
            yield (key,), "'final' is 'last', or {max: NAME} or {min: NAME}: the record in which it is best"
        elif key == "split" and value not in SPLITS:
            yield (key,), f"'split' is {value!r}; {choices(SPLITS, str(value))}"
        elif key in ("lines", "csv", "tensorboard", "step") and not isinstance(value, str):
            yield (key,), f"'{key}' is a name"
    sources = [key for key in SOURCES if key in results]
    if len(sources) > 1:
        yield (sources[1],), f"numbers come back in one way: '{sources[0]}' or '{sources[1]}'"


def _pattern_problems(text: object) -> Iterator[str]:
    if not isinstance(text, str):
        yield "'pattern' is a regular expression, or a list of them"
        return
    try:
        names = re.compile(text).groupindex
    except re.error as error:
        yield f"not a regular expression: {error}"
        return
    if not set(names) - {"step", "split", "epoch"}:
        yield "the pattern names no number: write (?P<accuracy>[0-9.]+) where it stands"
