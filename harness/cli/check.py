"""``harness validate``, ``preflight``, ``conformance``, ``doctor`` and ``data``."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import Chosen, FiniteRange, database_option, format_option, json_option, selection_options
from harness.cli.streams import raw_of
from harness.vocabulary import Scale

if TYPE_CHECKING:
    from harness.preflight import ConfigurationResult, PreflightReport
    from harness.suite import Suite


@click.command(name="validate", epilog="Example: harness validate suites/*.yaml")
@click.argument("suites", nargs=-1, metavar="SUITE…")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of suite files, for editors.")
@json_option
def validate_command(suites: tuple[str, ...], schema: bool, as_json: bool) -> int:
    """Check suite files and show every problem with file:line:column and valid choices."""
    from harness.cli.terminal import counted
    from harness.errors import Problem, SuiteError
    from harness.suite import load_suite
    from harness.suite.warnings import warnings_of

    if schema:
        from harness.suite.schema import json_schema

        click.echo(json.dumps(json_schema(), indent=2))
        return 0
    if not suites:
        raise click.UsageError("name at least one suite, or --schema")
    problems: list[Problem] = []
    warnings: list[str] = []
    for name in suites:
        try:
            suite = load_suite(name)
        except SuiteError as error:
            problems += error.problems
            continue
        warnings += [*map(str, warnings_of(suite)), *_missing_data(suite)]
        if not as_json:
            parts = ((suite.benchmarks, "benchmark"), (suite.model.arms, "arm"), (suite.facts, "claim"))
            counts = ", ".join(counted(len(part), word) for part, word in parts)
            click.echo(f"{Path(name).name}: valid; {counts}")
    if as_json:
        rows = [{"place": str(problem.place), "message": problem.message} for problem in problems]
        click.echo(json.dumps({"problems": rows, "warnings": warnings}))
    else:
        for line in (*(f"warning: {warning}" for warning in warnings), *problems):
            click.echo(line, err=True)
    return 2 if problems else 0


def _missing_data(suite: Suite) -> list[str]:
    """List missing folders and files of the user, at any scale.

    Published data sets are not checked: few users have all of them, and a run reports missing ones.
    """
    from harness import registry
    from harness.app.jobs import missing_data
    from harness.plan.planning import Selection, make_plan
    from harness.vocabulary import WRITTEN_SCALES

    warnings: list[str] = []
    for scale in WRITTEN_SCALES:
        plan = make_plan(suite, Selection(scale, seeds=(0,)))
        own = [
            trial for trial in plan.trials if registry.entry("data", trial.spec.data.name).metadata.origin == "folder"
        ]
        warnings += [f"{suite.path}: at {scale}: {text}" for text in missing_data(replace(plan, trials=tuple(own)))]
    return warnings


@click.command(name="conformance", epilog="Example: harness conformance tests/vectors")
@click.argument("directory", type=click.Path(path_type=Path))
def conformance_command(directory: Path) -> int:
    """Check the methods against reference vectors; the exit code is 1 on a miss."""
    from harness.errors import HarnessError
    from harness.registry.shipped import conformance

    if not (directory / "index.json").is_file():
        raise HarnessError(f"{directory} has no index.json; expected a folder of reference vectors")
    try:
        lines = conformance().check(directory)
    except (ValueError, OSError) as error:
        raise HarnessError(f"{directory}: {error}") from error
    for line in lines:
        verdict = "pass" if line.passed else "MISS"
        largest = "" if line.largest_error is None else f"{line.largest_error:.2e}"
        click.echo(f"{line.name:<24} {largest:>9}  {verdict}{'  ' + line.detail if line.detail else ''}")
    missed = sum(not line.passed for line in lines)
    click.echo(f"{len(lines) - missed} of {len(lines)} vectors pass")
    return 1 if missed or not lines else 0


@click.command(name="doctor", epilog="Example: harness doctor")
@database_option
@click.option("--ray/--no-ray", default=True, help="Start Ray and run one task.")
@json_option
def doctor_command(database: Path, ray: bool, as_json: bool) -> int:
    """Check versions, devices, Ray, data and database, with advice.

    'harness conformance DIR' checks the methods against reference vectors.
    """
    from harness.preflight.doctor import examine

    findings = examine(database, with_ray=ray)
    if as_json:
        click.echo(json.dumps([{"what": f.what, "works": f.works, "detail": f.detail} for f in findings]))
    else:
        for finding in findings:
            click.echo(f"{'ok ' if finding.works else 'NO '} {finding.what}: {finding.detail}")
    return 0 if all(finding.works or not finding.needed for finding in findings) else 1


_names = click.argument("names", nargs=-1, required=True, metavar="NAME…")


@click.group(name="data", epilog="Example: harness data verify digits")
def data_command() -> None:
    """List, fetch and verify data sets."""


@data_command.command("list", epilog="Example: harness data list")
def list_sources() -> None:
    """List every data source: origin, licence, home, and if it is on this machine."""
    from harness import registry
    from harness.cli.terminal import print_table
    from harness.data.locate import is_here
    from harness.trial.spec import Part

    facts = ("origin", "size", "licence", "home")
    rows = [
        (name, "yes" if is_here(Part(name)) else "no", *(str(getattr(entry.metadata, key)) for key in facts))
        for name, entry in registry.entries("data").items()
    ]
    print_table(("name", "here", *facts), rows)


@data_command.command("verify", epilog="Example: harness data verify cifar100-subset-100")
@_names
def verify_sources(names: tuple[str, ...]) -> int:
    """Compare files with their checksums; the exit code is 1 if one is missing or differs."""
    from harness.data.download import verify

    good = True
    for name in names:
        for line in verify(name):
            click.echo(f"{name}: {line.file}: {line.verdict}")
            good = good and line.good
    return 0 if good else 1


@data_command.command("fetch", epilog="Example: harness data fetch wikitext2")
@_names
def fetch_sources(names: tuple[str, ...]) -> None:
    """Download data sets into HARNESS_DATA and verify them."""
    from harness.data.download import fetch

    for name in names:
        for line in fetch(name):
            click.echo(f"{name}: {line}")


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
