"""``harness data``: list, fetch and verify data sets."""

from __future__ import annotations

import click

_names = click.argument("names", nargs=-1, required=True, metavar="NAME…")


@click.group(name="data", epilog="Example: harness data verify digits")
def data_command() -> None:
    """List, fetch and verify data sets."""


@data_command.command("list", epilog="Example: harness data list")
def list_sources() -> None:
    """List every data source: origin, licence, home, and if it is on this machine."""
    from harness import registry
    from harness.cli.terminal import print_table
    from harness.data.locate import is_here
    from harness.trial.spec import Part

    facts = ("origin", "size", "licence", "home")
    rows = [
        (name, "yes" if is_here(Part(name)) else "no", *(str(getattr(entry.metadata, key)) for key in facts))
        for name, entry in registry.entries("data").items()
    ]
    print_table(("name", "here", *facts), rows)


@data_command.command("verify", epilog="Example: harness data verify cifar100-subset-100")
@_names
def verify_sources(names: tuple[str, ...]) -> int:
    """Compare files with their checksums; the exit code is 1 if one is missing or differs."""
    from harness.data.download import verify

    good = True
    for name in names:
        for line in verify(name):
            click.echo(f"{name}: {line.file}: {line.verdict}")
            good = good and line.good
    return 0 if good else 1


@data_command.command("fetch", epilog="Example: harness data fetch wikitext2")
@_names
def fetch_sources(names: tuple[str, ...]) -> None:
    """Download data sets into HARNESS_DATA and verify them."""
    from harness.data.download import fetch

    for name in names:
        for line in fetch(name):
            click.echo(f"{name}: {line}")
