"""``harness conformance``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="conformance", epilog="Example: harness conformance tests/vectors")
@click.argument("directory", type=click.Path(path_type=Path))
def command(directory: Path) -> int:
    """Check the methods against reference vectors: one line a vector, exit code 1 on a miss."""
    from harness.errors import HarnessError
    from harness.registry.shipped import conformance

    if not (directory / "index.json").is_file():
        raise HarnessError(f"{directory} holds no index.json; a folder of reference vectors is expected")
    try:
        lines = conformance().check(directory)
    except (ValueError, OSError) as error:
        raise HarnessError(f"{directory}: {error}") from error
    for line in lines:
        verdict = "pass" if line.passed else "MISS"
        largest = "" if line.largest_error is None else f"{line.largest_error:.2e}"
        click.echo(f"{line.name:<24} {largest:>9}  {verdict}{'  ' + line.detail if line.detail else ''}")
    missed = sum(not line.passed for line in lines)
    click.echo(f"{len(lines) - missed} of {len(lines)} vectors pass")
    return 1 if missed or not lines else 0
