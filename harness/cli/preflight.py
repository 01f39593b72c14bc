"""``harness preflight``."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from harness.cli.options import Chosen, FiniteRange, format_option, selection_options
from harness.cli.streams import raw_of
from harness.vocabulary import Scale

if TYPE_CHECKING:
    from harness.preflight import ConfigurationResult, PreflightReport

NUMBERS = ("parameters", "step GB", "batch GB", "GFLOP/step", "steps", "hours", "loader")
COLUMNS = ("benchmark", "arm", *NUMBERS, "missing", "result")
_SHARE, _JOBS = FiniteRange(0, 1, min_open=True), click.IntRange(1, 64)
_SECONDS = FiniteRange(0, min_open=True)
_UTILISATION = "Assume that training reaches this share of the device's peak."
_TIMEOUT = "Fail a configuration after this many seconds."


@click.command(name="preflight", epilog="Example: harness preflight adamp --device a100 --utilisation 0.4")
@click.argument("suites", nargs=-1, required=True, metavar="SUITE…")
@selection_options(Scale.PAPER, seeds="1")
@click.option("--device", "device_name", default="h100", metavar="D", help="Estimate the hours on this device.")
@click.option("--utilisation", type=_SHARE, default=0.4, metavar="F", help=_UTILISATION)
@click.option("--jobs", type=_JOBS, default=2, metavar="N", help="Use this many processes.")
@click.option("--timeout", type=_SECONDS, default=300.0, metavar="S", help=_TIMEOUT)
@format_option
def preflight_command(
    suites: tuple[str, ...], chosen: Chosen, form: str, device_name: str, utilisation: float, jobs: int, timeout: float
) -> int:
    """Build every configuration, take one step on tiny data and score it.

    Nothing is stored.

    Networks have their published sizes, and data has its published format with two items. Hours count the matrix
    multiplications and convolutions of all steps at the stated share of the device's peak. The column loader shows how
    many times faster a device could be before it waits for files read by this machine. Missing published weights are
    reported and replaced by random ones.
    """
    from harness.app.preflight import check_suites
    from harness.preflight import PreflightSettings, device
    from harness.suite import load_suite

    settings = PreflightSettings(device(device_name), utilisation, jobs, timeout)
    progress = None if form == "json" else _print_progress
    report = check_suites([load_suite(suite) for suite in suites], chosen, settings, progress)
    if form == "json":
        cells = [{**asdict(cell), "headroom": cell.headroom} for cell in report.cells]
        failed = [f"{cell.suite}/{cell.benchmark}/{cell.arm}" for cell in report.failed]
        click.echo(json.dumps({**asdict(report), "cells": cells, "failed": failed}))
    else:
        _show(report)
    for row in report.failed:
        click.echo(f"failed: {row.suite}/{row.benchmark}/{row.arm}: {row.error}", err=True)
    return 1 if report.failed else 0


def _print_progress(label: str, done: int, requested: int) -> None:
    """Print progress on standard error: one line on a terminal, every tenth step elsewhere."""
    live = sys.stderr.isatty()
    if live or done % 10 == 0 or done == requested:
        if live:
            raw_of(sys.stderr).write("\r\x1b[2K")
        click.echo(f"{done} of {requested}: {label}", nl=not live or done == requested, err=True)


def _show(report: PreflightReport) -> None:
    from harness.cli.terminal import counted, note, print_table

    for suite, cells in itertools.groupby(report.cells, key=lambda cell: cell.suite):
        title = f"{suite}; hours on {report.device.title} at {report.utilisation:.0%}"
        print_table(COLUMNS, map(_row, cells), right=NUMBERS, title=title)
    for line in _loaders(report.cells):
        note(line)
    for name, count in report.missing.items():
        note(f"missing {name}: {counted(count, 'configuration')} ('harness data list' shows its origin)")
    tried, steps = counted(len(report.cells), "configuration"), counted(report.works, "step")
    click.echo(
        f"{tried}, {len(report.failed)} failed; {steps} in {report.seconds:.0f} s, at most "
        f"{report.highest_gb:.1f} GB a process"
    )


def _row(row: ConfigurationResult) -> tuple[str, ...]:
    result = "FAILED" if row.error else f"as {row.shared_with}" if row.shared_with else "ok"
    if not row.error and row.untrained:
        result += f", random {', '.join(row.untrained)}"
    if not row.error and not row.fits:
        result += ", does not fit the device"
    sizes: tuple[str, ...] = ("",) * 7
    if row.stage not in ("build", "process"):
        added = f"+{row.asked_parameters / 1e6:.1f}" if row.asked_parameters else ""
        steps = "?" if row.steps is None else f"{row.steps:,}"
        hours = "?" if row.hours is None else f"{row.hours:,.1f}"
        memory = (f"{row.step_gb:.1f}", f"{row.batch_gb:.1f}")
        loader = "memory" if row.loader_items is None else "?" if row.headroom is None else f"×{row.headroom:.2g}"
        sizes = (f"{row.parameters / 1e6:.1f}{added} M", *memory, f"{row.flops / 1e9:,.0f}", steps, hours, loader)
    return (row.benchmark, row.arm, *sizes, ", ".join(row.missing), result)


def _loaders(cells: tuple[ConfigurationResult, ...]) -> Iterator[str]:
    """Describe the loader of each benchmark, for its most demanding configuration."""
    tightest: dict[str, tuple[float, str]] = {}
    for cell in cells:
        name, headroom = f"{cell.suite}/{cell.benchmark}", cell.headroom
        if headroom is None or (name in tightest and tightest[name][0] <= headroom):
            continue
        line = f"loader: {cell.loader_items:,.0f} items/s; step needs {cell.step_items:,.0f} items/s on this device"
        if headroom < 1:
            line += f", which would wait: on such cores set loader_workers to {math.ceil(cell.readers / headroom)}"
        else:
            line += f"; a device {headroom:.1f} times faster would wait"
        tightest[name] = headroom, f"{name}: {line}"
    for _, line in tightest.values():
        yield line
