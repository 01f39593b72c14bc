"""Tables, notes, counts and JSON values for the output of commands."""

import sys
from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.base.text import count
from harness.base.values import plain as plain
from harness.cli.streams import raw_of, visible

counted = count
PIPED_WIDTH = 240  # a pipe has no width; tables wrapped at 80 columns cannot be searched


def note(text: str, style: str = "dim") -> None:
    """Print a line; a pipe gets lines of any practical length."""
    _console().print(visible(text), style=style, markup=False)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Collection[str] = (), title: str = ""
) -> None:
    """Print a table without a frame.

    Args:
        right: columns of numbers. In a narrow terminal names fold; numbers and verdicts do not.
    """
    table = Table(title=Text(visible(title)) if title else None, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        whole = name in right or name.startswith("verdict")
        table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row))
    _console().print(table)


def _console() -> Console:
    return Console(file=raw_of(sys.stdout), width=None if sys.stdout.isatty() else PIPED_WIDTH)
