"""What commands print with: tables, notes, counts, and values as JSON has them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.base.text import count
from harness.cli.streams import raw_of, visible
from harness.results.plain_values import plain as plain

counted = count
PIPED_WIDTH = 240  # a pipe has no width; tables that wrap at 80 columns cannot be searched


def note(text: str, style: str = "dim") -> None:
    """Print a line beside a table, on a console as wide as the terminal, or wide enough to search where it is piped."""
    _console().print(visible(text), style=style, markup=False)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Collection[str] = (), title: str = ""
) -> None:
    """Print a table without frame; the columns named in ``right`` are numbers. Markup in titles and cells is text.

    In a narrow terminal names fold, numbers and verdicts stay whole.
    """
    made = Table(title=Text(visible(title)) if title else None, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        whole = name in right or name.startswith("verdict")
        made.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row))
    _console().print(made)


def _console() -> Console:
    return Console(file=raw_of(sys.stdout), width=None if sys.stdout.isatty() else PIPED_WIDTH)
