"""``harness export``: tables for papers, data frames and trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import PATH, database_option

EXAMPLE = """
\b
Examples:
  harness export --to latex tables/ --suite adamp --metric top1-accuracy
  harness export --to csv tables/ --suite adamp --scale small --split test
  harness export --to mlflow mlruns/

A table has the trials of one plan: for each configuration those of the newest run, or of --run. Without --suite there
are separate files for every suite and scale.
"""
FORMS = ("parquet", "csv", "latex", "markdown", "mlflow", "tensorboard")


@click.command(name="export", epilog=EXAMPLE)
@click.option("--to", "form", type=click.Choice(FORMS), required=True, help="Choose the format.")
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("--suite", metavar="S", help="Export only this suite.")
@click.option("--scale", metavar="S", help="Export only this scale.  [default: each separately]")
@click.option(
    "--run", metavar="RUN", help="Export the trials of this run: an id, its beginning, 'latest' or 'previous'."
)
@click.option("--metric", metavar="M", help="Export only this metric.  [default: all declared ones, each separately]")
@click.option(
    "--split", metavar="SPLIT", help="Export only test, validation or train.  [default: test in tables, else all]"
)
@click.option("--benchmark", "benchmarks", multiple=True, metavar="B", help="Export only this benchmark.")
@click.option("--arm", "arms", multiple=True, metavar="A", help="Export only this arm.")
@database_option
def export_command(form: str, folder: Path, database: Path, **filters: Any) -> None:
    """Export tables for a paper, data frames or trackers.

    latex and markdown: a paper's tables, arms as columns, and the verdicts. parquet and csv: every table of the store
    and current_results, or with a filter the latter alone. mlflow and
    tensorboard: current trials with curves, written through these tools (paper-harness[trackers]).
    """
    from harness.exports.export import export
    from harness.results.current import ResultFilter

    for path in export(database, form, folder, ResultFilter(**filters)):
        click.echo(str(path))
