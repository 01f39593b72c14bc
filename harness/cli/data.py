"""``harness data``."""

from __future__ import annotations

import click


@click.group(name="data", epilog="Example: harness data verify digits")
def command() -> None:
    """Where data sets come from, and whether they are here."""


@command.command("list", epilog="Example: harness data list")
def list_sources() -> None:
    """Every data source: origin, licence, home, and whether it is here."""
    from rich.table import Table
    from rich.text import Text

    from harness import registry
    from harness.cli.terminal import console as make_console
    from harness.data.locate import file_of

    table = Table(box=None, pad_edge=False)
    for name in ("name", "here", "origin", "size", "licence", "home"):
        table.add_column(name, overflow="fold")
    for name, entry in registry.entries("data").items():
        paths = [file_of(file) for file in entry.card.files]
        here = all(path is not None and path.exists() for path in paths)
        row = [
            name,
            "yes" if here else "no",
            *(str(getattr(entry.card, key)) for key in ("origin", "size", "licence", "home")),
        ]
        table.add_row(*(Text(cell) for cell in row))
    make_console().print(table)


@command.command("verify", epilog="Example: harness data verify cifar100-subset-100")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
def verify_sources(names: tuple[str, ...]) -> int:
    """Compare files with their stated checksums; exit code 1 where one is missing or differs."""
    from harness.data.download import verify

    bad = 0
    for name in names:
        for line in verify(name):
            click.echo(f"{name}: {line.file}: {line.verdict}")
            bad += not line.good
    return 1 if bad else 0


@command.command("fetch", epilog="Example: harness data fetch wikitext2")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
def fetch_sources(names: tuple[str, ...]) -> None:
    """Fetch data sets into HARNESS_DATA from where each has its home, and verify them."""
    from harness.data.download import fetch

    for name in names:
        for line in fetch(name):
            click.echo(f"{name}: {line}")
