"""``harness show``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.options import database_option


@click.command(name="show", epilog="Example: harness show 3f2a91")
@click.argument("trial")
@database_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(trial: str, database: Path, as_json: bool) -> None:
    """Show one trial: its content, results and artifacts. TRIAL is an id or its unique beginning."""
    from harness.errors import HarnessError
    from harness.store import open_reader

    with open_reader(database) as reader:
        ids = [
            row[0] for row in reader.query("SELECT trial_id FROM trials WHERE starts_with(trial_id, ?)", (trial,)).rows
        ]
        if len(ids) != 1:
            what = f"no trial begins with '{trial}'" if not ids else f"{len(ids)} trials begin with '{trial}'"
            raise HarnessError(f"{what}; 'harness list trials' lists them")
        row = reader.trial(ids[0]) or {}
        results = reader.results(ids).dicts()
        artifacts = reader.artifacts(ids)
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
