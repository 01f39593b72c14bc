"""Options that mean the same in every command, and what they are turned into."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.errors import HarnessError
from harness.plan.selecting import Chosen as Chosen
from harness.store.paths import default_database
from harness.vocabulary import Scale

Function = TypeVar("Function", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A number within limits that is a number, and not endless."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; anything else is told with the option."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


PATH = click.Path(path_type=Path)
_DATABASE = "The database.  [default: $HARNESS_DB or results/harness.duckdb]"
_GPUS, _FORMATS = "A share of a GPU for each trial.", click.Choice(["table", "json"])
_MEMORY = "End a trial that holds more memory, with what it started.  [default: by the machine]"
_OVERRIDE = "Override a recipe key, data.KEY or model.KEY in every arm; every chosen benchmark must take it."

database_option = click.option("--db", "database", type=PATH, default=default_database, help=_DATABASE)
override_option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=_OVERRIDE)
executor_option = click.option("--executor", type=click.Choice(["ray", "inline"]), default="ray", show_default=True)
address_option = click.option("--address", metavar="auto|HOST:PORT", help="Join a Ray cluster.")
gpus_option = click.option("--gpus-per-trial", type=FiniteRange(min=0), metavar="F", help=_GPUS)
memory_option = click.option("--memory-per-trial", type=FiniteRange(min=1), metavar="MIB", help=_MEMORY)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
format_option = click.option("--format", "form", type=_FORMATS, default="table", show_default=True)


def scale_option(default: Scale = Scale.MINI) -> Callable[[Function], Function]:
    """``--scale``."""
    kind = click.Choice([scale.value for scale in Scale])  # of the members themselves, click would take the names
    return click.option("--scale", type=kind, default=default.value, show_default=True, help="How large.")


def selection_options(default: Scale = Scale.MINI, seeds: str | None = None) -> Callable[[Function], Function]:
    """``--scale``, ``--benchmark``, ``--arm``, ``--seeds``, ``--set``; the command gets them as ``chosen: Chosen``.

    Args:
        default: of ``--scale``.
        seeds: where the command has its own and no option for them.
    """
    options = [
        override_option,
        click.option("--seeds", metavar="N|MIN..MAX", help="Seeds 0…N−1, or a sequential range."),
        click.option("--arm", "arms", multiple=True, metavar="A", help="Only this arm; NAME=FILE.py:CLASS adds one."),
        click.option("--benchmark", "benchmarks", multiple=True, metavar="B", help="Only this benchmark."),
        scale_option(default),
    ]

    def decorated(function: Function) -> Function:
        @functools.wraps(function)
        def command(**given: Any) -> Any:
            names = ("scale", "benchmarks", "arms", "overrides")
            selected = {name: given.pop(name) for name in names}
            return function(chosen=_chosen(**selected, seeds=given.pop("seeds", seeds)), **given)

        for option in options if seeds is None else [options[0], *options[2:]]:
            command = option(command)
        return command  # type: ignore[return-value]

    return decorated


def _chosen(
    scale: str, benchmarks: tuple[str, ...], arms: tuple[str, ...], overrides: tuple[str, ...], seeds: str | None
) -> Chosen:
    from harness.plan.selecting import choose

    return choose(scale, benchmarks or None, arms, seeds, parse_overrides(overrides))


def parse_overrides(texts: tuple[str, ...]) -> dict[str, Any]:
    """``--set lr=1e-3``: values are read as YAML reads them."""
    from harness.suite.yamlfile import parse

    overrides = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise HarnessError(f"--set '{text}': KEY=VALUE is expected, as in --set steps=100")
        overrides[key] = parse(f"- {value}", Path(f"--set {key}"), top=list).plain()[0]
    return overrides


def seconds(text: str | None) -> float | None:
    """``90``, ``90s``, ``30m``, ``2h`` as seconds."""
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise HarnessError(f"--time-budget '{text}': a time such as 90s, 30m or 2h is expected")
    return value


def command_line() -> str:
    """The command as it was typed, for the record."""
    return " ".join(["harness", *sys.argv[1:]])
