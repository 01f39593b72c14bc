"""``harness data``."""

from __future__ import annotations

import click

_names = click.argument("names", nargs=-1, required=True, metavar="NAME…")


@click.group(name="data", epilog="Example: harness data verify digits")
def data_command() -> None:
    """Where data sets come from, and whether they are here."""


@data_command.command("list", epilog="Example: harness data list")
def list_sources() -> None:
    """Every data source: origin, licence, home, and whether it is here."""
    from harness import registry
    from harness.cli.terminal import print_table
    from harness.data.locate import is_here

    facts = ("origin", "size", "licence", "home")
    rows = [
        (name, "yes" if is_here(name) else "no", *(str(getattr(entry.card, key)) for key in facts))
        for name, entry in registry.entries("data").items()
    ]
    print_table(("name", "here", *facts), rows)


@data_command.command("verify", epilog="Example: harness data verify cifar100-subset-100")
@_names
def verify_sources(names: tuple[str, ...]) -> int:
    """Compare files with their stated checksums; exit code 1 where one is missing or differs."""
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
    """Fetch data sets into HARNESS_DATA from where each has its home, and verify them."""
    from harness.data.download import fetch

    for name in names:
        for line in fetch(name):
            click.echo(f"{name}: {line}")
