"""``harness doctor``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.options import database_option


@click.command(name="doctor", epilog="Example: harness doctor")
@database_option
@click.option("--ray/--no-ray", default=True, help="Start Ray and run one task.", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(database: Path, ray: bool, as_json: bool) -> int:
    """Versions, devices, Ray, data, database: what works here, and what to do about what does not."""
    from harness.preflight.doctor import examine

    findings = examine(database, with_ray=ray)
    if as_json:
        click.echo(json.dumps([{"what": f.what, "works": f.works, "detail": f.detail} for f in findings]))
    else:
        for found in findings:
            click.echo(f"{'ok ' if found.works else 'NO '} {found.what}: {found.detail}")
    return 0 if all(found.works or not found.needed for found in findings) else 1
