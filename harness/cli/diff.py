"""``harness diff``: compare two runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.base.text import interval, number
from harness.cli.options import FiniteRange, database_option, json_option
from harness.cli.terminal import counted, plain, print_table
from harness.errors import HarnessError
from harness.store import open_reader
from harness.vocabulary import Protocol

if TYPE_CHECKING:
    from harness.results.arm_changes import ArmChange, ArmRegression
    from harness.results.diff import ContentChange, RunDifference, VerdictChange

EXAMPLE = """
\b
Examples:
  harness diff 20261124T0930 latest
  harness diff previous latest --regression 0.5 --metric top1-accuracy

RUN is an id, its unique beginning, 'latest', or 'previous' (the run of the same suite and scale before it).
docs/tables.md has a job for continuous integration.
"""
_REGRESSION = "Exit with code 1 if an arm is worse by more than this in --metric, in its unit."
_BETTER = "State which values are better.  [default: from the benchmark]"
_ALL = "Also compare mechanisms, dummy baselines and other splits; show every change."
NUMBERS = ("first", "second", "n", "difference", "95 % interval")
SHOWN = 8
"""Changes of one kind that are printed without --all."""
LONGEST = 60


@click.command(name="diff", epilog=EXAMPLE)
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option("--metric", metavar="M", help="Compare only this final metric.")
@click.option("--regression", type=FiniteRange(0), metavar="SIZE", help=_REGRESSION)
@click.option("--better", type=click.Choice(["higher", "lower"]), help=_BETTER)
@click.option("--all", "everything", is_flag=True, help=_ALL)
@database_option
@json_option
def diff_command(first: str, second: str, metric: str | None, database: Path, as_json: bool, **values: Any) -> int:
    """Compare two runs: settings, code, environment and scores, paired by seed.

    With --regression an arm fails if the mean of its pairs is worse by more than SIZE and so is the whole 95 % interval
    or every single pair, or if a seed has lost its score.
    """
    from harness.results.arm_changes import compared_seeds, regressions
    from harness.results.diff import difference

    size, better = values["regression"], values["better"]
    if size is not None and metric is None:
        raise HarnessError("--regression requires --metric: the size is in its unit")
    with open_reader(database, consistent=True) as reader:
        compared = difference(reader, first, second, metric=metric, everything=values["everything"])
        seeds = 0 if size is None else compared_seeds(reader, (compared.first, compared.second), str(metric))
    worse = [] if size is None else regressions(compared.cells, size, str(metric), better)
    if as_json:
        click.echo(json.dumps(plain(asdict(compared) | {"regressions": [asdict(item) for item in worse]})))
    else:
        _show(compared, everything=values["everything"])
        if size is not None:
            _show_regressions(worse, f"{metric}: {counted(seeds, 'pair')} of seeds compared, tolerance {size:g}")
    return 1 if worse else 0


def _show(compared: RunDifference, *, everything: bool) -> None:
    click.echo(
        f"{compared.first} → {compared.second}: {counted(compared.shared_trials, 'trial')} shared, "
        f"{compared.only_first} only in the first, {compared.only_second} only in the second"
    )
    parts = (
        ("request", compared.asked),
        ("recipe", compared.recipe),
        ("code", compared.code),
        ("environment", compared.environment),
        ("configurations", compared.missing),
    )
    same = [name for name, changes in parts[1:4] if not changes] if compared.paired else []
    for name, changes in parts:
        _show_content(name, changes, everything=everything)
    if same:
        click.echo(f"the same: {', '.join(same)}")
    if not compared.paired:
        click.echo("no configuration and seed in common: recipe and code are not compared")
    _show_lines("verdict", [_verdict_line(verdict) for verdict in compared.verdicts], everything=everything)
    if not compared.verdicts:
        click.echo("every verdict is the same")
    if compared.paired:
        _show_arms(compared.cells)


def _show_content(name: str, changes: Sequence[ContentChange], *, everything: bool) -> None:
    lines = []
    for change in changes:
        where = f" ({_few(change.cells)})" if change.cells else ""
        lines.append(f"{change.key}: {_cut(change.first)} → {_cut(change.second)}{where}")
    _show_lines(name, lines, everything=everything)


def _show_lines(name: str, lines: Sequence[str], *, everything: bool) -> None:
    shown = lines if everything else lines[:SHOWN]
    for line in shown:
        click.echo(f"{name}  {line}")
    if len(lines) > len(shown):
        click.echo(f"{name}  … and {len(lines) - len(shown)} more: --all or --json has them")


def _verdict_line(verdict: VerdictChange) -> str:
    protocol = "" if verdict.protocol == Protocol.PUBLISHED else f" ({verdict.protocol})"
    return f"{verdict.claim_id}{protocol}: {verdict.first or 'none'} → {verdict.second or 'none'}"


def _few(cells: Sequence[str], most: int = 3) -> str:
    return ", ".join(cells[:most]) + (f" and {len(cells) - most} more" if len(cells) > most else "")


def _cut(text: str) -> str:
    return (text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…") or "(nothing)"


def _show_arms(changes: Iterable[ArmChange]) -> None:
    rows = []
    for item in changes:
        means = (number(mean, 6) for mean in (item.first, item.second))
        n = str(item.n) if item.first_n == item.second_n == item.n else f"{item.n} of {item.first_n}, {item.second_n}"
        held = interval(item.low, item.high)
        place = f"{item.benchmark}/{item.arm}"
        rows.append((place, f"{item.split}.{item.metric}", *means, n, number(item.difference, sign=True), held))
    if rows:
        title = "changed arms: second − first, paired by seed"
        print_table(("arm", "metric", *NUMBERS), rows, right=NUMBERS, title=title)
    else:
        click.echo("every score is the same")


def _show_regressions(worse: Sequence[ArmRegression], counted_pairs: str) -> None:
    for item in worse:
        change = item.change
        by = "" if change.difference is None else f" ({number(change.difference, 4, sign=True)})"
        click.echo(f"REGRESSION  {change.benchmark}/{change.arm} {change.metric}{by}: {item.reason}")
    click.echo(f"{'no regression' if not worse else counted(len(worse), 'regression')}: {counted_pairs}")
