"""``harness preflight``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import override_option, scale_option, selection
from harness.vocabulary import Scale

if TYPE_CHECKING:
    from harness.preflight import CellResult, PreflightReport

COLUMNS = ("benchmark", "arm", "parameters", "step GB", "batch GB", "GFLOP/step", "steps", "hours", "missing", "result")
LEFT = ("benchmark", "arm", "missing", "result")


@click.command(name="preflight", epilog="Example: harness preflight adamp --device a100 --utilisation 0.4")
@click.argument("suites", nargs=-1, required=True, metavar="SUITE…")
@scale_option(Scale.PAPER)
@click.option("--benchmark", "benchmarks", multiple=True, metavar="B", help="Only this benchmark.")
@click.option("--arm", "arms", multiple=True, metavar="A", help="Only this arm; NAME=FILE.py:CLASS adds one.")
@override_option
@click.option("--device", "device_name", default="h100", show_default=True, metavar="D", help="Hours on this device.")
@click.option(
    "--utilisation",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.4,
    show_default=True,
    metavar="F",
    help="The share of the device's peak that the training is taken to reach.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=2, show_default=True, metavar="N", help="Processes side by side."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="S",
    help="Seconds after which a cell has failed.",
)
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(suites: tuple[str, ...], shape: str, device_name: str, **options: Any) -> int:
    """Build every cell for real, take its training step on tiny data and score it; nothing is stored.

    The networks have their published sizes and the data its published format, two items of it. Hours are those of the
    steps' matrix products and convolutions at the stated share of the device's peak. Published weights that are not
    here are reported as missing; random ones stand in for their shapes.
    """
    from harness.errors import HarnessError
    from harness.plan.planning import make_plan
    from harness.preflight import PreflightSettings, device, preflight
    from harness.suite import load_suite

    known = device(device_name)
    loaded = [load_suite(suite) for suite in suites]
    chosen, methods = selection(options["scale"], options["benchmarks"], options["arms"], "1", options["overrides"])
    plans = [make_plan(suite, chosen) for suite in loaded]
    if not any(plan.trials for plan in plans):
        raise HarnessError(f"nothing to build: no benchmark has the scale '{options['scale']}'")
    settings = PreflightSettings(known, options["utilisation"], options["jobs"], options["timeout"])
    report = preflight(plans, settings, methods, _teller(shape))
    if shape == "json":
        click.echo(json.dumps(report.as_dict()))
    else:
        _show(report)
    for row in report.failed:
        click.echo(f"failed: {row.suite}/{row.benchmark}/{row.arm}: {row.error}", err=True)
    return 1 if report.failed else 0


def _teller(shape: str) -> Any:
    """Progress on standard error: one line that is overwritten on a terminal, a line every tenth step elsewhere."""
    if shape == "json":
        return None
    if sys.stderr.isatty():
        return lambda label, done, asked: click.echo(f"\r\x1b[2K{done} of {asked}: {label}", nl=done == asked, err=True)

    def tell(label: str, done: int, asked: int) -> None:
        if done % 10 == 0 or done == asked:
            click.echo(f"{done} of {asked}: {label}", err=True)

    return tell


def _show(report: PreflightReport) -> None:
    from rich.text import Text

    from harness.cli.terminal import console, counted, table
    from harness.preflight import missing_sources

    output = console()
    for suite in dict.fromkeys(row.suite for row in report.cells):
        title = f"{suite}; hours on {report.device.title} at {report.utilisation:.0%}"
        shown = table(*COLUMNS, right=set(COLUMNS) - set(LEFT), title=title)
        for row in report.cells:
            if row.suite == suite:
                shown.add_row(*map(Text, _cells(row)))
        output.print(shown)
    for name, cells in missing_sources(report.cells).items():
        line = f"missing {name}: {counted(cells, 'cell')} ('harness data list' says where it comes from)"
        output.print(line, style="dim", markup=False)
    tried, steps = counted(len(report.cells), "cell"), counted(report.works, "step")
    output.print(
        f"{tried}, {len(report.failed)} failed; {steps} in {report.seconds:.0f} s, at most "
        f"{report.highest_gb:.1f} GB a process"
    )


def _cells(row: CellResult) -> tuple[str, ...]:
    result = "FAILED" if row.error else f"as {row.shared_with}" if row.shared_with else "ok"
    if not row.error and row.untrained:
        result += f", random {', '.join(row.untrained)}"
    if not row.error and not row.fits:
        result += ", does not fit the device"
    if row.stage in ("build", "process"):
        return (row.benchmark, row.arm, "", "", "", "", "", "", ", ".join(row.missing), result)
    asked = f"+{row.asked_parameters / 1e6:.1f}" if row.asked_parameters else ""
    return (
        row.benchmark,
        row.arm,
        f"{row.parameters / 1e6:.1f}{asked} M",
        f"{row.step_gb:.1f}",
        f"{row.batch_gb:.1f}",
        f"{row.flops / 1e9:,.0f}",
        "?" if row.steps is None else f"{row.steps:,}",
        "?" if row.hours is None else f"{row.hours:,.1f}",
        ", ".join(row.missing),
        result,
    )
