"""``harness list`` and ``harness show``."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click

from harness.cli.options import database_option, json_option
from harness.cli.terminal import print_table
from harness.errors import HarnessError
from harness.store import open_reader


@click.command(name="list", epilog="Example: harness list methods 'adam*'")
@click.argument("kind")
@click.argument("pattern", default="*")
@database_option
@click.option("--stale", is_flag=True, help="List only trials that no shipped suite requests any more.")
@json_option
def list_command(kind: str, pattern: str, database: Path, stale: bool, as_json: bool) -> None:
    """List suites, benchmarks, methods, tasks, data, models, runs or trials; PATTERN filters names.

    'harness show TRIAL' shows one trial.
    """
    from harness.results.listing import listed

    rows = [row for row in listed(kind, database, stale=stale) if fnmatch(str(next(iter(row.values()))), pattern)]
    if as_json:
        click.echo(json.dumps(rows, default=str))
    elif rows:
        print_table(list(rows[0]), [[_text(key, value) for key, value in row.items()] for row in rows])
    else:
        click.echo(f"no {kind}", err=True)


def _text(key: str, value: Any) -> str:
    if key == "trial_id":
        return str(value)[:12]
    if isinstance(value, float):
        return f"{value:.1f}"
    return "" if value is None else str(value)


@click.command(name="show", epilog="Example: harness show 3f2a91")
@click.argument("trial")
@database_option
@json_option
def show_command(trial: str, database: Path, as_json: bool) -> None:
    """Show one trial: its content, results and artifacts.

    TRIAL is an id or its unique beginning.
    """
    with open_reader(database) as reader:
        matching = reader.query("SELECT trial_id FROM trials WHERE starts_with(trial_id, ?)", (trial,))
        ids = [trial_id for (trial_id,) in matching.rows]
        if len(ids) != 1:
            what = f"no trial begins with '{trial}'" if not ids else f"{len(ids)} trials begin with '{trial}'"
            raise HarnessError(f"{what}; 'harness list trials' lists them")
        row = reader.trial(ids[0]) or {}
        results = reader.results(ids).dicts()
        artifacts = reader.artifacts(ids).dicts()
    if as_json:
        click.echo(json.dumps({"trial": row, "results": results, "artifacts": artifacts}, default=str))
        return
    spec = row.pop("spec", None)
    for key, value in row.items():
        if value is not None:
            click.echo(f"{key:>15}  {value}")
    click.echo("\nresults")
    for result in results:
        click.echo(f"  {result['split']:<11} {result['metric']:<40} {result['value']:.6g}")
    for artifact in artifacts:
        click.echo(f"\n{artifact['kind']}  {artifact['path']}  {artifact['caption']}")
    click.echo("\nspec")
    click.echo(json.dumps(json.loads(spec) if isinstance(spec, str) else spec, indent=2))
