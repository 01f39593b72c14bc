"""``harness export``: results for papers, data frames and other tools."""

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

Every table is of one plan: of each cell the trials of the newest run that asked for it, or of --run. Without --suite
every suite and scale has files of its own.
"""
FORMS = ("parquet", "csv", "latex", "markdown", "mlflow", "tensorboard")


@click.command(name="export", epilog=EXAMPLE)
@click.option("--to", "form", type=click.Choice(FORMS), required=True)
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("--suite", metavar="S", help="Only this suite.")
@click.option("--scale", metavar="S", help="Only this scale.  [default: each apart]")
@click.option("--run", metavar="RUN", help="What this run asked for: an id, its beginning, 'latest' or 'previous'.")
@click.option("--metric", metavar="M", help="Only this metric.  [default: all that benchmarks declare, each apart]")
@click.option("--split", metavar="SPLIT", help="test, validation or train.  [default: test in tables, all elsewhere]")
@click.option("--benchmark", "benchmarks", multiple=True, metavar="B", help="Only this benchmark.")
@click.option("--arm", "arms", multiple=True, metavar="A", help="Only this arm.")
@database_option
def export_command(form: str, folder: Path, database: Path, **given: Any) -> None:
    """Export tables of one plan, the whole store, or trials for a tracker.

    latex and markdown: a paper's tables, arms as columns, and the verdicts. parquet and csv: every table of the store
    and current_results, or with a filter the latter alone. mlflow and
    tensorboard: current trials with curves, written through these tools (paper-harness[trackers]).
    """
    from harness.exports.export import export
    from harness.results.current import ResultFilter

    for path in export(database, form, folder, ResultFilter(**given)):
        click.echo(str(path))
