"""``harness claims``."""

from __future__ import annotations

import json
from typing import Any

import click

from harness.cli.options import database_option, selection, selection_options


@click.command(name="claims", epilog="Example: harness claims adamp --format json")
@click.argument("suites", nargs=-1, metavar="[SUITE…]")
@selection_options
@database_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(suites: tuple[str, ...], form: str, **options: Any) -> None:
    """Judge a suite's claims from the stored trials (without a name: every shipped suite's)."""
    from harness.cli.terminal import counted
    from harness.cli.verdicts import plain, print_ablations, print_claims, verdict_json
    from harness.registry.shipped import suite_files
    from harness.results.claims import judge_suite

    chosen, _ = selection(
        options["scale"], options["benchmarks"], options["arms"], options["seeds"], options["overrides"]
    )
    rows = []
    for name in suites or tuple(suite_files()):
        judged = judge_suite(name, chosen, options["database"])
        suite, scale = judged.suite, judged.plan.scale
        if form == "json":
            rows.append({"suite": suite.name, "scale": scale, "verdicts": verdict_json(judged.verdicts),
                         "ablations": plain(judged.ablations)})  # fmt: skip
        else:
            print_claims(suite, scale, judged.verdicts)
            print_ablations(judged.ablations)
        if judged.superseded:
            trials = counted(judged.superseded, "stored trial")
            were, are = ("was", "is") if judged.superseded == 1 else ("were", "are")
            click.echo(
                f"{suite.name}: {trials} of these cells {were} made by other code, recipes or data and {are} not "
                f"judged; 'harness run {name} --scale {scale}' runs today's",
                err=True,
            )
        if judged.adopted:
            trials = counted(judged.adopted, "trial")
            click.echo(f"{suite.name}: {trials} measured by older code, adopted by 'harness verify --adopt'", err=True)
    if form == "json":
        click.echo(json.dumps(rows))
