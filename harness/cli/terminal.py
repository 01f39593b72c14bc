"""What commands print with: a console, tables, counts."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPED_WIDTH = 160  # a pipe has no width; tables that wrap at 80 columns cannot be searched


def counted(number: int, noun: str) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def console() -> Console:
    """Standard output: as wide as the terminal, or wide enough to search where it is piped."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)


def table(*columns: str, right: Collection[str] = (), title: str = "") -> Table:
    """A table without frame; the columns named in ``right`` are numbers. Markup in the title is text."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made
