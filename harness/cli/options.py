"""Options that mean the same in every command, and what they are turned into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.errors import HarnessError
from harness.store.paths import default_database
from harness.vocabulary import Scale

if TYPE_CHECKING:
    from harness.registry.user_methods import UserMethod

Function = TypeVar("Function", bound=Callable[..., Any])


def database_option(function: Function) -> Function:
    """``--db``."""
    return click.option(
        "--db",
        "database",
        type=click.Path(path_type=Path),
        default=default_database,
        help="The database.  [default: $HARNESS_DB or results/harness.duckdb]",
    )(function)


def scale_option(default: Scale = Scale.MINI) -> Callable[[Function], Function]:
    """``--scale``."""
    scales = [scale.value for scale in Scale]  # of the members themselves, click would take the names
    return click.option(
        "--scale", type=click.Choice(scales), default=default.value, show_default=True, help="How large."
    )


def override_option(function: Function) -> Function:
    """``--set``."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a recipe key, data.KEY or model.KEY in every arm; every chosen benchmark must take it.",
    )(function)


def selection_options(function: Function) -> Function:
    """``--scale``, ``--benchmark``, ``--arm``, ``--seeds``, ``--set``."""
    for option in (
        override_option,
        click.option("--seeds", metavar="N|MIN..MAX", help="Seeds 0…N−1, or a sequential range."),
        click.option("--arm", "arms", multiple=True, metavar="A", help="Only this arm; NAME=FILE.py:CLASS adds one."),
        click.option("--benchmark", "benchmarks", multiple=True, metavar="B", help="Only this benchmark."),
        scale_option(),
    ):
        function = option(function)
    return function


def selection(
    scale: str, benchmarks: tuple[str, ...], arms: tuple[str, ...], seeds: str | None, overrides: tuple[str, ...]
) -> tuple[Any, tuple[UserMethod, ...]]:
    """The plan's selection, and the methods that ``--arm NAME=FILE.py:CLASS`` adds."""
    from harness.plan.planning import Selection, parse_seeds

    added, methods, named = {}, [], []
    for text in arms:
        if "=" in text:
            from harness.plan.user_arms import user_arm

            name, arm, method = user_arm(text)
            added[name] = arm
            methods.append(method)
        else:
            named.append(text)
    numbers, cap = parse_seeds(seeds)
    chosen = Selection(
        scale=scale,
        benchmarks=benchmarks or None,
        arms=tuple(named) or None,
        seeds=numbers,
        cap=cap,
        overrides=parse_overrides(overrides),
        added_arms=added,
    )
    return chosen, tuple(methods)


def parse_overrides(texts: tuple[str, ...]) -> dict[str, Any]:
    """``--set lr=1e-3``: values are read as YAML reads them."""
    from harness.suite.yamlfile import parse

    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise HarnessError(f"--set '{text}': KEY=VALUE is expected, as in --set steps=100")
        found[key] = parse(f"- {value}", Path(f"--set {key}"), top=list).plain()[0]
    return found


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
