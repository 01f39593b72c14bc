"""``harness init``: create a suite file."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import PATH
from harness.errors import HarnessError

EXAMPLE = """
\b
Examples:
  harness init mine.yaml --script train.py --option opt --arm adam --arm adamp --metric accuracy
  harness init photos.yaml --data photos/
  harness init --table results.csv
"""


_SCRIPT = "Create a suite for this training script, which trains one arm with one seed."
_DATA = "Create a suite for this image folder: train/CLASS/, test/CLASS/."


@click.command("init", epilog=EXAMPLE)
@click.argument("file", type=PATH, default=Path("mine.yaml"), metavar="[FILE.yaml]")
@click.option("--script", type=PATH, metavar="FILE", help=_SCRIPT)
@click.option("--data", "folder", type=PATH, metavar="DIR", help=_DATA)
@click.option("--table", type=PATH, metavar="FILE", help="Print the 'harness judge' command for this table of results.")
@click.option("--arm", "arms", multiple=True, metavar="NAME", help="Add an arm; the first is the baseline.")
@click.option("--option", metavar="NAME", help="Pass the arm's name to the script by this option.")
@click.option("--metric", metavar="M", help="Compare this metric, which the script prints at its end.")
@click.option("--better", type=click.Choice(["higher", "lower"]), help="State which values of the metric are better.")
@click.option("--unit", default="", show_default=False, metavar="percent|…", help="State the unit of the metric.")
@click.option("--seeds", type=click.IntRange(3, 100), default=6, help="Run at least this many seeds of each arm.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init_command(
    file: Path,
    script: Path | None,
    folder: Path | None,
    table: Path | None,
    arms: tuple[str, ...],
    option: str | None,
    metric: str | None,
    better: str | None,
    unit: str,
    seeds: int,
    force: bool,
) -> None:
    """Create a suite file for your training script or images.

    With --table, print the 'harness judge' command for a table of results instead.
    """
    from harness.imports.table_scores import better_of
    from harness.suite import load_suite
    from harness.suite.starting import FOLDER_ARMS, FOLDER_METRIC, FirstSuite, for_folder, for_script, suite_name

    if sum(path is not None for path in (script, folder, table)) != 1:
        raise HarnessError("give one of --script FILE, --data DIR and --table FILE")
    if table is not None:
        click.echo(_judging(table))
        return
    if file.exists() and not force:
        raise HarnessError(f"{file} exists; choose another name or --force")
    name = suite_name(file)
    if script is not None:
        needed = {"--option NAME": option, "--arm A --arm B": arms, "--metric M": metric}
        if missing := [flag for flag, value in needed.items() if not value]:
            raise HarnessError(f"--script needs {', '.join(missing)}; an example: {EXAMPLE.splitlines()[3].strip()}")
        start = FirstSuite(name, arms, str(metric), better or better_of(str(metric)), unit, seeds, str(option))
        text = for_script(script, start, file.resolve().parent)
    else:
        assert folder is not None
        text = for_folder(folder, FirstSuite(name, arms or FOLDER_ARMS, FOLDER_METRIC, "higher", "percent", seeds))
    file.write_text(text, encoding="utf-8")
    load_suite(file)  # reports where the file is not valid
    click.echo(text, nl=False)
    click.echo(f"\nwritten to {file}; next: harness run {file}", err=True)


def _judging(table: Path) -> str:
    """Return the command that judges a table, with its columns."""
    from harness.imports.result_files import read_table

    rows = read_table(table)
    return (
        f"columns of {table}: {', '.join(rows.columns)}\n"
        f"harness judge {table} --method A --against B --metric M [--pair seed] [--by dataset]\n"
        "A and B are two of the arms, as a column names them, or two columns."
    )
