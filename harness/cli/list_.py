"""``harness list``."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import click

from harness.cli.options import database_option


@click.command(name="list", epilog="Example: harness list methods 'adam*'")
@click.argument("kind")
@click.argument("pattern", default="*")
@database_option
@click.option("--stale", is_flag=True, help="Trials that no shipped suite asks for any more.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
def command(kind: str, pattern: str, database: Path, stale: bool, as_json: bool) -> None:
    """List suites, benchmarks, methods, tasks, data, models, runs or trials; PATTERN filters names."""
    from harness.results.listing import listed

    rows = listed(kind, database, stale=stale)
    named = [row for row in rows if fnmatch.fnmatch(str(next(iter(row.values()))), pattern)]
    if as_json:
        click.echo(json.dumps(named, default=str))
        return
    _print(named, kind)


def _print(rows: list[dict[str, Any]], kind: str) -> None:
    from rich.text import Text

    from harness.cli.terminal import console, table

    if not rows:
        click.echo(f"no {kind}", err=True)
        return
    listed = table(*rows[0])
    for row in rows:
        listed.add_row(*(Text(_text(key, value)) for key, value in row.items()))
    console().print(listed)


def _text(key: str, value: Any) -> str:
    if key == "trial_id":
        return str(value)[:12]
    if isinstance(value, float):
        return f"{value:.1f}"
    return "" if value is None else str(value)
