"""``harness validate``."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="validate", epilog="Example: harness validate suites/*.yaml")
@click.argument("suites", nargs=-1, metavar="SUITE…")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of suite files, for editors.")
@click.option("--json", "as_json", is_flag=True, help="Problems as JSON.")
def command(suites: tuple[str, ...], schema: bool, as_json: bool) -> int:
    """Check suite files: every problem with file:line:column and the valid choices."""
    from harness.cli.terminal import counted
    from harness.errors import Problem, SuiteError
    from harness.suite import load_suite
    from harness.suite.warnings import SuiteWarning, warnings_of

    if schema:
        from harness.suite.schema import json_schema

        click.echo(json.dumps(json_schema(), indent=2))
        return 0
    if not suites:
        raise click.UsageError("name at least one suite, or --schema")
    problems: list[Problem] = []
    warnings: list[SuiteWarning] = []
    for name in suites:
        try:
            suite = load_suite(name)
        except SuiteError as error:
            problems += error.problems
            continue
        warnings += warnings_of(suite)
        if not as_json:
            parts = ((suite.benchmarks, "benchmark"), (suite.model.arms, "arm"), (suite.facts, "claim"))
            counted_parts = ", ".join(counted(len(part), word) for part, word in parts)
            click.echo(f"{Path(name).name}: valid; {counted_parts}")
    if as_json:
        rows = [{"place": str(problem.place), "message": problem.message} for problem in problems]
        click.echo(json.dumps({"problems": rows, "warnings": [str(warning) for warning in warnings]}))
    else:
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        for problem in problems:
            click.echo(str(problem), err=True)
    return 2 if problems else 0
