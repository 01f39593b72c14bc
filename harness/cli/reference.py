"""The command reference of the docs, made from the help of the commands: ``python -m harness.cli.reference``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from harness.cli.group import COMMANDS, harness

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
WIDTH = 100
_HEAD = """# Commands

Made from the commands' own help by `python -m harness.cli.reference`; a test keeps it true. Exit codes: 0 done, 1 some
trials or checks failed, 2 wrong usage or an invalid file.
"""


def render() -> str:
    """The text of the page."""
    settings = {**harness.context_settings, "max_content_width": WIDTH}
    root = click.Context(harness, info_name="harness", terminal_width=WIDTH, **settings)
    parts = [_HEAD]
    for name in COMMANDS:
        command = harness.get_command(root, name)
        assert command is not None
        for title, text in _pages(command, name, root):
            parts.append(f"## harness {title}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _pages(command: click.Command, name: str, parent: click.Context) -> Iterator[tuple[str, str]]:
    """The help of a command and of its own commands, as in a terminal of ``WIDTH`` columns."""
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
    yield context.command_path.removeprefix("harness "), command.get_help(context).rstrip()
    if isinstance(command, click.Group):
        for own in command.list_commands(context):
            found = command.get_command(context, own)
            if found is not None:
                yield from _pages(found, own, context)


def write_or_check(check: bool) -> int:
    """Write the page, or compare it with the committed one; returns an exit code."""
    text = render()
    if not check:
        PAGE.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {PAGE.name}\n")
        return 0
    same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
    sys.stdout.write(f"{PAGE.name} is {'up to date' if same else 'stale: run python -m harness.cli.reference'}\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(write_or_check("--check" in sys.argv[1:]))
