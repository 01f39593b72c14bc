"""The command reference of the docs, from the commands' help: ``python -m harness.cli.reference``."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import click

from harness.cli.group import COMMANDS, UNLISTED, harness

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
WIDTH = 118
_HEAD = """# Commands

```sh
harness run adamp --scale smoke
```

This page is generated from the commands' help by `python -m harness.cli.reference`. Exit codes: 0 done, 1 some trials
or checks failed, 2 wrong usage or an invalid file. `harness --debug COMMAND` shows tracebacks. The former names
`browse`, `simulate`, `tag` and `forget` work in this version and print their replacement.

Options of several commands are described here; each command lists their names.
"""

Record = tuple[str, str]
"""An option's names and its help."""


def render() -> str:
    """Return the text of the page."""
    root = click.Context(harness, info_name="harness", **harness.context_settings)
    commands = {name: list(_contexts(name, harness, root)) for name in _names()}
    counts = Counter(record for contexts in commands.values() for context in contexts for record in _records(context))
    shared = [record for record, count in counts.items() if count > 1]
    parts = [_HEAD, _block([_options(shared)])]
    for contexts in commands.values():
        for context in contexts:
            usage = " ".join([context.command_path, *context.command.collect_usage_pieces(context)])
            parts.append(f"## `{usage.replace(' [OPTIONS]', '')}`\n{_block(_sections(context, shared))}")
    return "\n".join(parts)


def _names() -> Iterator[str]:
    """Names of the listed commands, each followed by its unlisted ones."""
    for name in COMMANDS:
        yield name
        yield from (other for other, entry in UNLISTED.items() if entry.section == name)


def _contexts(name: str, group: click.Group, parent: click.Context) -> Iterator[click.Context]:
    """Contexts of a command or of its subcommands."""
    command = group.get_command(parent, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=parent)
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            yield from _contexts(part, command, context)
    else:
        yield context


def _records(context: click.Context) -> list[Record]:
    """The options of a command with their help, without ``--help``."""
    options = [param for param in context.command.params if isinstance(param, click.Option)]
    return [record for option in options if (record := option.get_help_record(context)) is not None]


def _sections(context: click.Context, shared: Sequence[Record]) -> Iterator[str]:
    """Description, options and example of a command."""
    command, records = context.command, _records(context)
    yield _written(lambda formatter: command.format_help_text(context, formatter))
    if own := [record for record in records if record not in shared]:
        yield _options(own)
    if names := [record[0].split()[0] for record in records if record in shared]:
        yield f"  and {', '.join(names)}" if own else f"  Options: {', '.join(names)}"
    yield _written(lambda formatter: command.format_epilog(context, formatter))


def _written(write: Callable[[click.HelpFormatter], None]) -> str:
    """A section of the help without empty lines."""
    formatter = click.HelpFormatter(width=WIDTH)
    write(formatter)
    return "\n".join(line for line in formatter.getvalue().splitlines() if line.strip())


def _options(records: Sequence[Record]) -> str:
    """A list of options."""
    formatter = click.HelpFormatter(width=WIDTH)
    formatter.indent()
    formatter.write_dl(records, col_max=38)
    return formatter.getvalue().rstrip("\n")


def _block(texts: Iterable[str]) -> str:
    """A fenced block of texts."""
    return "```text\n" + "\n".join(texts) + "\n```\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` only compare it; the exit code."""
    text = render()
    if "--check" in arguments:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        if not same:
            print(f"{PAGE} is out of date: run python -m harness.cli.reference", file=sys.stderr)
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
