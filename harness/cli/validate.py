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
    from harness.errors import SuiteError
    from harness.suite import load_suite
    from harness.suite.warnings import warnings_of

    if schema:
        from harness.suite.schema import json_schema

        click.echo(json.dumps(json_schema(), indent=2))
        return 0
    if not suites:
        raise click.UsageError("name at least one suite, or --schema")
    found, warned = [], []
    for name in suites:
        try:
            suite = load_suite(name)
        except SuiteError as error:
            found += error.problems
            continue
        warned += warnings_of(suite)
        if not as_json:
            cells = f"{len(suite.benchmarks)} benchmarks, {len(suite.model.arms)} arms, {len(suite.facts)} claims"
            click.echo(f"{Path(name).name}: valid; {cells}")
    if as_json:
        rows = [{"place": str(p.place), "message": p.message} for p in found]
        click.echo(json.dumps({"problems": rows, "warnings": [str(w) for w in warned]}))
    else:
        for warning in warned:
            click.echo(f"warning: {warning}", err=True)
        for problem in found:
            click.echo(str(problem), err=True)
    return 2 if found else 0
