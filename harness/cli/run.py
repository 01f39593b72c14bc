"""``harness run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from harness.cli.options import database_option, seconds, selection, selection_options


@click.command(name="run", epilog="Example: harness run suites/adamp.yaml --seeds 3")
@click.argument("suites", nargs=-1, required=True, metavar="SUITE…")
@selection_options
@click.option("--executor", type=click.Choice(["ray", "inline"]), default="ray", show_default=True)
@click.option("--address", metavar="auto|HOST:PORT", help="Join a Ray cluster.")
@click.option("--gpus-per-trial", type=click.FloatRange(min=0), metavar="F", help="A share of a GPU for each trial.")
@database_option
@click.option("--time-budget", metavar="30m", help="Begin no further trial after this time.")
@click.option("--exclusive", is_flag=True, help="One trial at a time, so that its time is a cost.")
@click.option("--report/--no-report", default=True, help="Write the HTML report at the end.", show_default=True)
@click.option("--dry-run", is_flag=True, help="Show the plan; run nothing.")
@click.option("--fail-fast", is_flag=True, help="Begin no further trial after a failure.")
@click.option("--quiet", is_flag=True, help="Only the verdicts and the report's path.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(suites: tuple[str, ...], **options: Any) -> int:
    """Run a suite; what is already stored is reused.

    SUITE is a path, or the name of a shipped suite. Trials are identified by their content: the same command again
    runs nothing, and after an interruption it goes on where it stopped.
    """
    from harness.execute.run import Request, run_suite
    from harness.suite import load_suite

    loaded = [load_suite(suite) for suite in suites]
    chosen, methods = selection(
        options["scale"], options["benchmarks"], options["arms"], options["seeds"], options["overrides"]
    )
    if options["dry_run"]:
        from harness.cli.plan import show_plan

        for suite in loaded:
            show_plan(suite, chosen, options["database"], options["as_json"])
        return 0
    from harness.cli.watch import make_watch
    from harness.execute.dispatch import Policy

    request = Request(
        database=options["database"],
        selection=chosen,
        executor=options["executor"],
        address=options["address"],
        gpus_per_trial=options["gpus_per_trial"],
        policy=Policy(fail_fast=options["fail_fast"], exclusive=options["exclusive"]),
        time_budget=seconds(options["time_budget"]),
        command=" ".join(["harness", *sys.argv[1:]]),
        own_methods=methods,
    )
    results = []
    for suite in loaded:
        with make_watch(suite.name, quiet=options["quiet"] or options["as_json"]) as watch:
            results.append((suite, run_suite(suite, request, watch)))
    index = None
    if options["report"]:
        from harness.results.reporting import Reported, write_run_report

        index = write_run_report(options["database"], [Reported(suite, result.plan) for suite, result in results])
    _tell(results, options, index)
    return 0 if all(result.complete for _, result in results) else 1


def _tell(results: list[tuple[Any, Any]], options: dict[str, Any], index: Path | None) -> None:
    from harness.cli.verdicts import print_verdicts, verdict_json

    if options["as_json"]:
        import json

        rows = [
            {"suite": suite.name, "run_id": result.run_id, "trials": len(result.plan.trials), "reused": result.reused,
             "counts": result.counts, "stopped": result.stopped, "failures": result.failures,
             "verdicts": verdict_json(result.verdicts)}
            for suite, result in results
        ]  # fmt: skip
        click.echo(json.dumps({"runs": rows, "report": str(index) if index else None}))
        return
    for suite, result in results:
        for label, error in result.failures:
            click.echo(f"failed: {label}: {error}", err=True)
        if result.stopped:
            click.echo(f"stopped early: {result.stopped}", err=True)
        print_verdicts(suite, result.plan.scale, result.verdicts)
    if index is not None:
        click.echo(str(index))
