"""``harness simulate``: how often a suite's design would say a false word."""

from __future__ import annotations

import json

import click

from harness.cli.options import Chosen, json_option, selection_options


@click.command(name="simulate", epilog="Example: harness simulate adamp --seeds 3..12 --law t3 --repeats 500")
@click.argument("suite")
@selection_options()
@click.option(
    "--law",
    type=click.Choice(["normal", "t3", "binomial", "skewed"]),
    default="normal",
    show_default=True,
    help="Of a score; binomial: of 100 items; skewed: lognormal on the first arm.",
)
@click.option(
    "--correlation",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Of one arm's scores between benchmarks, under one seed.",
)
@click.option(
    "--effect",
    type=float,
    default=0.0,
    show_default=True,
    help="What each claim's first arm is better by, in standard deviations of a pair.",
)
@click.option("--repeats", type=click.IntRange(1), default=200, show_default=True, help="Suites that are drawn.")
@click.option("--random-seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws.")
@json_option
def simulate_command(
    suite: str, chosen: Chosen, law: str, correlation: float, effect: float, as_json: bool, **count: int
) -> None:
    """Judge a suite on drawn scores in which nothing is true, and count false words; nothing is run or stored."""
    from harness.judge.simulating import SimulatedNoise, simulate_suite
    from harness.suite import load_suite

    repeats = count["repeats"]
    noise = SimulatedNoise(law, correlation, effect)
    found = simulate_suite(load_suite(suite), chosen.selection, noise, repeats, seed=count["random_seed"])
    if as_json:
        answer = {"suite": suite, "repeats": repeats, "mean_pairs": found.mean_pairs, "families": found.rows()}
        click.echo(json.dumps(answer))
        return
    click.echo(f"{suite}: {repeats} suites of {law} scores, {found.mean_pairs:.1f} seeds a test")
    said = "with a word for or against" if effect else "with a false word"
    for row in found.rows():
        share = f"{row['suites']:7.1%} ± {row['error']:.1%} of suites {said}"
        click.echo(f"  {row['family']:<12}{row['tests']:>4} tests {share}, {row['confirmed']:.1%} of tests confirmed")
