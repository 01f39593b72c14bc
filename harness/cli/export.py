"""``harness export``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import database_option


@click.command(name="export", epilog="Example: harness export --to latex tables/")
@click.option("--to", "form", type=click.Choice(["parquet", "csv", "latex", "markdown"]), required=True)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@database_option
def command(form: str, folder: Path, database: Path) -> None:
    """Export tables: the whole store for other tools, or verdicts and results for a paper."""
    from harness.results.export import export

    for path in export(database, form, folder):
        click.echo(str(path))
