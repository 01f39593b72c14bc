"""A trial that is a program of somebody else: how its command and its results are written down.

Such a task is no ``Task``: nothing is built, and no loop of ours runs. Its metadata says ``program=True`` and names a
function ``run(spec, runtime) -> TrainingResult``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from harness.base.values import flat
from harness.errors import HarnessError, choices

SOURCES = ("lines", "output", "csv", "tensorboard", "pattern")
"""Ways in which numbers come back."""
KEYS = (*SOURCES, "names", "final", "step", "split")
SPLITS = ("train", "validation", "test")
PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def words_of(command: Any) -> list[str]:
    """A command as words: a list as it is, a text as a shell splits it; no shell reads it.

    Raises:
        HarnessError: it is neither, or empty, or a quotation is left open.
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
    """The names in braces; doubled braces are braces."""
    return [found.group(1) for found in PLACE.finditer(text) if found.group(1) is not None]


def filled(text: str, values: Mapping[str, Any]) -> str:
    """The text with each ``{name}`` replaced.

    Raises:
        HarnessError: a name that there is not.
    """

    def put(found: re.Match[str]) -> str:
        if found.group(1) is None:
            return found.group(0)[0]
        if found.group(1) not in values:
            raise HarnessError(f"'{text}': no '{{{found.group(1)}}}'; {choices(values, found.group(1))}")
        return as_argument(values[found.group(1)])

    return PLACE.sub(put, text)


def as_argument(value: Any) -> str:
    """A value as a command line has it: ``true``, ``0.001``."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def known_values(recipe: Mapping[str, Any], seed: int, folder: str, data: str) -> dict[str, Any]:
    """What a command may name: ``{seed}``, ``{folder}`` (of the trial), ``{data}`` and ``{arm.KEY}``.

    ``{steps}`` is the recipe's length, or less where a sweep or a smoke test cuts it.
    """
    known = {"seed": seed, "folder": folder, "data": data}
    if recipe.get("steps") is not None:
        known["steps"] = min(recipe["steps"], recipe.get("max_steps") or recipe["steps"])
    given = recipe.get("values")
    return known | {f"arm.{key}": value for key, value in flat(given if isinstance(given, Mapping) else {})}


def final_of(value: object) -> tuple[str, str] | None:
    """Which record is final: (``last``, ''), (``max``, NAME) or (``min``, NAME); None for anything else."""
    if value == "last":
        return "last", ""
    if isinstance(value, Mapping) and len(value) == 1:
        ((way, name),) = value.items()
        if way in ("max", "min") and isinstance(name, str):
            return str(way), name
    return None


def result_problems(results: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with ``results:``, with the place below it."""
    for key, value in results.items():
        if key not in KEYS:
            yield (key,), f"unknown key '{key}'; {choices(KEYS, key)}"
        elif key == "pattern":
            for text in value if isinstance(value, list | tuple) else [value]:
                yield from (((key,), told) for told in _pattern_problems(text))
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
    given = [key for key in SOURCES if key in results]
    if len(given) > 1:
        yield (given[1],), f"numbers come back in one way: '{given[0]}' or '{given[1]}'"


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
