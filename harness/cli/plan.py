"""``harness plan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import database_option, selection, selection_options

if TYPE_CHECKING:
    from harness.plan.planning import Selection
    from harness.suite import Suite


@click.command(name="plan", epilog="Example: harness plan adamp --scale small")
@click.argument("suite", metavar="SUITE")
@selection_options
@database_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(suite: str, **options: Any) -> None:
    """Show the cells and trials of a suite, what is stored already, and what the rest costs; nothing is run."""
    from harness.suite import load_suite

    chosen, _ = selection(
        options["scale"], options["benchmarks"], options["arms"], options["seeds"], options["overrides"]
    )
    show_plan(load_suite(suite), chosen, options["database"], options["as_json"])


def show_plan(suite: Suite, chosen: Selection, database: Path, as_json: bool) -> None:
    """Print a plan as a table or as JSON."""
    from harness.plan.estimate import estimate
    from harness.plan.planning import make_plan
    from harness.results.costs import measured_costs
    from harness.suite.warnings import untuned_arms

    plan = make_plan(suite, chosen)
    cost = estimate(plan, measured_costs(plan, database))
    untuned = [found for found in untuned_arms(suite, plan.scale) if (found.benchmark, found.arm) in plan.cells]
    if as_json:
        warnings = [found.message for found in untuned]
        click.echo(json.dumps({**cost.as_dict(), "warnings": warnings, "trial_list": plan.identities()}))
        return
    from rich.text import Text

    from harness.cli.terminal import console as make_console
    from harness.cli.terminal import counted, table

    numbers = ("seeds", "stored", "core-seconds", "MB")
    cells = table("benchmark", "arm", "stand-in", *numbers, right=numbers, title=f"{suite.name} at {chosen.scale}")
    for cell in cost.cells:
        stand_in = ", ".join(cell.stand_in) or "as published"
        seconds = f"{'~' if cell.guessed else ''}{cell.core_seconds:.0f}"
        memory = f"{cell.memory_mb:.0f}" if cell.memory_mb else ""
        names = (Text(cell.benchmark), Text(cell.arm))
        cells.add_row(*names, stand_in, str(cell.seeds), str(cell.stored), seconds, memory)
    console = make_console()
    console.print(cells)
    for name in cost.absent:
        console.print(f"{name}: no such scale", style="dim", markup=False)
    console.print(
        f"{counted(len(cost.cells), 'cell')}, {counted(cost.trials, 'trial')}, {cost.reused} stored already; "
        f"about {cost.core_seconds:.0f} core-seconds to run" + (" (~: a guess)" if cost.guessed else "")
    )
    for found in untuned:
        click.echo(f"warning: {found.message}", err=True)
