"""``harness diff``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.options import database_option


@click.command(name="diff", epilog="Example: harness diff 20261124T0930 latest")
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option("--metric", help="Only this final metric.")
@database_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(first: str, second: str, metric: str | None, database: Path, as_json: bool) -> int:
    """Compare two runs' verdicts and metrics. RUN is an id, its unique beginning, or 'latest'."""
    from harness.cli.terminal import counted
    from harness.results.diff import difference
    from harness.store import open_reader

    with open_reader(database) as reader:
        compared = difference(reader, first, second)
    if as_json:
        click.echo(json.dumps(compared.as_dict()))
        return 0
    click.echo(
        f"{compared.first} → {compared.second}: {counted(compared.shared_trials, 'trial')} shared, "
        f"{compared.only_first} only in the first, {compared.only_second} only in the second"
    )
    for verdict in compared.verdicts:
        click.echo(f"  {verdict.claim_id}: {verdict.first or 'none'} → {verdict.second or 'none'}")
    if not compared.verdicts:
        click.echo("  every verdict is the same")
    for cell in compared.cells:
        if metric is None or cell.metric == metric:
            values = " → ".join("none" if v is None else f"{v:.6g}" for v in (cell.first, cell.second))
            click.echo(f"  {cell.benchmark}/{cell.arm} {cell.split}.{cell.metric}: {values}")
    return 0
