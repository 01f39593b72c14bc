"""Options with the same meaning in every command, and their values."""

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
from harness.trial.options import Values
from harness.vocabulary import Scale

Function = TypeVar("Function", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A finite number within limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; reject infinities and NaN."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


PATH = click.Path(path_type=Path)
_DATABASE = "Use this database.  [default: $HARNESS_DB or results/harness.duckdb]"
_FORMAT = "Choose the output format."
_MEMORY = "Stop a trial that uses more memory, with its child processes.  [default: no limit]"
_OVERRIDE = "Override a recipe key, data.KEY or model.KEY in every arm of the selected benchmarks."
_EXECUTOR = "Run trials in parallel with Ray, or one by one in this process (for debugging)."

database_option = click.option(
    "--db", "database", type=PATH, default=default_database, show_default=False, help=_DATABASE
)
override_option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=_OVERRIDE)
executor_option = click.option("--executor", type=click.Choice(["ray", "inline"]), default="ray", help=_EXECUTOR)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
format_option = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help=_FORMAT)


def grouped(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Return a decorator that adds several options, in their order."""

    def decorated(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorated


execution_options = grouped(
    executor_option,
    click.option("--address", metavar="auto|HOST:PORT", help="Use this Ray cluster."),
    click.option("--gpus-per-trial", type=FiniteRange(0), metavar="F", help="Give each trial this share of a GPU."),
    click.option("--memory-per-trial", type=FiniteRange(1), metavar="MIB", help=_MEMORY),
)
"""Where and how trials run."""


def scale_option(default: Scale = Scale.MINI) -> Callable[[Function], Function]:
    """Add ``--scale``."""
    kind = click.Choice([scale.value for scale in Scale])  # for enum members click would offer the names
    return click.option("--scale", type=kind, default=default.value, help="Choose the size of the benchmarks.")


def selection_options(default: Scale = Scale.MINI, seeds: str | None = None) -> Callable[[Function], Function]:
    """Add the options that select trials; the command gets them as ``chosen: Chosen``.

    Args:
        default: the default of ``--scale``.
        seeds: fixed seeds, for a command without ``--seeds``.
    """
    arm = "Use only this arm; NAME=FILE.py:CLASS adds one."
    seeds_help = "Use seeds 0…N−1, or MIN and up to MAX as needed."
    options = [
        scale_option(default),
        click.option("--benchmark", "benchmarks", multiple=True, metavar="B", help="Use only this benchmark."),
        click.option("--arm", "arms", multiple=True, metavar="A", help=arm),
        *([] if seeds else [click.option("--seeds", metavar="N|MIN..MAX", help=seeds_help)]),
        override_option,
    ]

    def decorated(function: Function) -> Function:
        @functools.wraps(function)
        def command(**values: Any) -> Any:
            from harness.plan.selecting import choose

            scale, benchmarks, arms, texts = (values.pop(name) for name in ("scale", "benchmarks", "arms", "overrides"))
            requested = values.pop("seeds", seeds)
            chosen = choose(scale, benchmarks or None, arms, requested, parse_overrides(texts))
            return function(chosen=chosen, **values)

        return grouped(*options)(command)  # type: ignore[return-value]

    return decorated


def parse_overrides(texts: tuple[str, ...]) -> Values:
    """Parse overrides such as ``lr=1e-3``; values are YAML."""
    from harness.base.yaml_nodes import parse

    overrides = Values()
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise HarnessError(f"--set '{text}': expected KEY=VALUE, for example --set steps=100")
        overrides[key] = parse(f"- {value}", Path(f"--set {key}"), top=list).plain()[0]
    return overrides


def seconds(text: str | None) -> float | None:
    """Parse ``90``, ``90s``, ``30m`` or ``2h`` as seconds."""
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise HarnessError(f"--time-budget '{text}': expected a time such as 90s, 30m or 2h")
    return value


def command_line() -> str:
    """Return the command line for the event log."""
    return " ".join(["harness", *sys.argv[1:]])
