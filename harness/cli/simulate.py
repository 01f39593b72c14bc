"""``harness plan --simulate``: how often the design of a suite finds an effect that is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.plan.planning import Selection
    from harness.suite import Suite

Function = TypeVar("Function", bound=Callable[..., Any])
LAWS = click.Choice(["normal", "t3", "binomial", "skewed"])
_LAW = "Draw scores from this law; binomial: of 100 items; skewed: lognormal on the first arm.  [default: normal]"
_CORRELATION = "Correlate an arm's scores between benchmarks under one seed.  [default: 0]"
_EFFECT = "Make the first arm of each claim better by this many standard deviations of a pair.  [default: 0]"


@dataclass(frozen=True, slots=True)
class Simulation:
    """The settings of a simulation."""

    law: str = "normal"
    correlation: float = 0.0
    effect: float = 0.0
    repeats: int = 200
    random_seed: int = 0


def simulation_options(function: Function) -> Function:
    """Add ``--simulate`` and its options; the command gets them as ``simulate`` and keywords."""
    for option in (
        click.option("--random-seed", type=click.IntRange(0), help="Seed the simulation's draws.  [default: 0]"),
        click.option("--repeats", type=click.IntRange(1), help="Simulate this many suites.  [default: 200]"),
        click.option("--effect", type=float, help=_EFFECT),
        click.option("--correlation", type=click.FloatRange(0, 1, max_open=True), help=_CORRELATION),
        click.option("--law", type=LAWS, help=_LAW),
        click.option("--simulate", is_flag=True, help="Estimate the false-positive rate by simulation; see below."),
    ):
        function = option(function)
    return function


def simulation_of(simulate: bool, **options: Any) -> Simulation | None:
    """Return the requested simulation, None without ``--simulate``.

    Raises:
        HarnessError: an option of the simulation without ``--simulate``.
    """
    named = {name: value for name, value in options.items() if value is not None}
    if named and not simulate:
        raise HarnessError(f"--{next(iter(named)).replace('_', '-')} requires --simulate")
    return Simulation(**named) if simulate else None


def print_simulation(suite: Suite, selection: Selection, settings: Simulation, as_json: bool) -> None:
    """Judge a suite on random scores many times; print the share with a finding."""
    from harness.judge.simulating import SimulatedNoise, simulate_suite

    repeats = settings.repeats
    noise = SimulatedNoise(settings.law, settings.correlation, settings.effect)
    result = simulate_suite(suite, selection, noise, repeats, seed=settings.random_seed)
    if as_json:
        answer = {"suite": suite.name, "repeats": repeats, "mean_pairs": result.mean_pairs, "families": result.rows()}
        click.echo(json.dumps(answer))
        return
    click.echo(f"{suite.name}: {repeats} suites of {settings.law} scores, {result.mean_pairs:.1f} seeds a test")
    label = "with a finding" if settings.effect else "with a false finding"
    for row in result.rows():
        share = f"{row['suites']:7.1%} ± {row['error']:.1%} of suites {label}"
        click.echo(f"  {row['family']:<12}{row['tests']:>4} tests {share}, {row['confirmed']:.1%} of tests confirmed")
