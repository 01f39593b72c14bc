"""``harness data``."""

from __future__ import annotations

import click


@click.group(name="data", epilog="Example: harness data verify digits")
def command() -> None:
    """Where data sets come from, and whether they are here."""


@command.command("list", epilog="Example: harness data list")
def list_sources() -> None:
    """Every data source: origin, licence, home, and whether it is here."""
    from rich.text import Text

    from harness import registry
    from harness.cli.terminal import console, table
    from harness.data.locate import is_here

    shown = table("name", "here", "origin", "size", "licence", "home")
    for name, entry in registry.entries("data").items():
        facts = (str(getattr(entry.card, key)) for key in ("origin", "size", "licence", "home"))
        shown.add_row(*map(Text, (name, "yes" if is_here(name) else "no", *facts)))
    console().print(shown)


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
