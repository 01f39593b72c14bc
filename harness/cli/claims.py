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
    from harness.cli.verdicts import plain, print_ablations, print_claims, verdict_json
    from harness.judge import ablations
    from harness.judge.stored import judge_now, stored_otherwise
    from harness.registry.shipped import suite_files
    from harness.store import open_reader
    from harness.suite import load_suite

    chosen, _ = selection(
        options["scale"], options["benchmarks"], options["arms"], options["seeds"], options["overrides"]
    )
    rows = []
    for name in suites or tuple(suite_files()):
        suite = load_suite(name)
        plan, verdicts = judge_now(suite, chosen, options["database"])
        with open_reader(options["database"]) as reader:
            exploratory = ablations(suite, plan, reader)
            others = stored_otherwise(plan, reader)
        if form == "json":
            rows.append({"suite": suite.name, "scale": plan.scale, "verdicts": verdict_json(verdicts),
                         "ablations": plain(exploratory)})  # fmt: skip
        else:
            print_claims(suite, plan.scale, verdicts)
            print_ablations(exploratory)
        if others:
            click.echo(
                f"{suite.name}: {others} stored trials of these cells were made by other code, recipes or data and are "
                f"not judged; 'harness run {name} --scale {plan.scale}' runs today's",
                err=True,
            )
    if form == "json":
        click.echo(json.dumps(rows))
