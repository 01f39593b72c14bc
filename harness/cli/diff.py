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
    from harness.results.diff import difference
    from harness.store import open_reader

    with open_reader(database) as reader:
        found = difference(reader, first, second)
    if as_json:
        click.echo(json.dumps(found.as_dict()))
        return 0
    click.echo(f"{found.first} → {found.second}: {found.shared_trials} trials shared, "
               f"{found.only_first} only in the first, {found.only_second} only in the second")  # fmt: skip
    for verdict in found.verdicts:
        click.echo(f"  {verdict.claim_id}: {verdict.first or 'none'} → {verdict.second or 'none'}")
    if not found.verdicts:
        click.echo("  every verdict is the same")
    for cell in found.cells:
        if metric is None or cell.metric == metric:
            values = " → ".join("none" if v is None else f"{v:.6g}" for v in (cell.first, cell.second))
            click.echo(f"  {cell.benchmark}/{cell.arm} {cell.split}.{cell.metric}: {values}")
    return 0
