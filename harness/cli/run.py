"""``harness run``, ``harness plan`` and ``harness verify``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options as shared
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.app.pricing import PricedPlan
    from harness.app.running import SuiteRun
    from harness.app.verify import Verification
    from harness.execute.dispatch import Watch
    from harness.plan.planning import Selection
    from harness.suite import Suite
    from harness.sweep.study import TunedCost

EXAMPLES = """
\b
Examples:
  harness run suites/adamp.yaml --seeds 3
  harness run adamp --arm mine=./my.py:MyAdam --against adamw --benchmark imagenet-resnet18
  harness run mine.yaml
"""
_TUNED = "Also tune the arms of claims marked 'tuned:', and judge these claims with tuned settings."
_TRACK = "Also log each finished trial to this tracker."


@click.command(name="run", epilog=EXAMPLES)
@click.argument("suites", nargs=-1, required=True, metavar="SUITE…")
@shared.selection_options()
@shared.execution_options
@shared.database_option
@click.option("--time-budget", metavar="30m", help="Start no further trial after this time.")
@click.option("--exclusive", is_flag=True, help="Run one trial at a time, so that timings are comparable.")
@click.option("--tuned/--no-tuned", default=True, help=_TUNED)
@click.option("--against", multiple=True, metavar="B", help="Compare the arms added by --arm with this arm.")
@click.option("--report/--no-report", default=True, help="Write the HTML report at the end.")
@click.option("--dry-run", is_flag=True, help="Show the plan and run nothing.")
@click.option("--fail-fast", is_flag=True, help="Stop after the first failure.")
@click.option("--force", is_flag=True, help="Delete the plan's stored results, then run.")
@click.option("--scratch", is_flag=True, help="Use a temporary database, removed at the end.")
@click.option("--quiet", is_flag=True, help="Print only the verdicts and the path of the report.")
@click.option("--track", "trackers", multiple=True, metavar="mlflow:URI|tensorboard:DIR", help=_TRACK)
@shared.json_option
def run_command(suites: tuple[str, ...], chosen: shared.Chosen, database: Path, **options: Any) -> int:
    """Run a suite; stored trials are reused.

    SUITE is a path or the name of a shipped suite. Trials are identified by their content: the same command again
    runs nothing, and after an interruption it continues where it stopped.
    """
    if not options.pop("scratch"):
        return _run(suites, chosen, database, **options)
    source = click.get_current_context().get_parameter_source("database")
    if source is click.core.ParameterSource.COMMANDLINE:
        raise HarnessError("--scratch and --db exclude each other")
    from harness.app.run import scratch_store

    with scratch_store() as own:
        click.echo(f"scratch: nothing is stored; {own.parent} is removed at the end", err=True)
        return _run(suites, chosen, own, **options | {"report": False})


def _run(suites: tuple[str, ...], chosen: shared.Chosen, database: Path, **options: Any) -> int:
    """Run suites on a database; returns the exit code."""
    from harness.suite import load_suite

    loaded = [load_suite(suite) for suite in suites]
    tuned, force, as_json = options["tuned"], options["force"], options["as_json"]
    if options["against"]:
        from harness.plan.user_arms import compared

        loaded = [compared(suite, chosen.selection, options["against"]) for suite in loaded]
    if options["dry_run"]:
        for suite in loaded:
            _show_plan(suite, chosen.selection, database, as_json, tuned=tuned, force=force)
        return 0
    from harness.app.request import Request
    from harness.app.run import run_suites
    from harness.cli.watch import Tracking, make_watch
    from harness.exports.trackers import tracker_of

    trackers = {text: tracker_of(text) for text in options["trackers"]}
    names = ("executor", "address", "gpus_per_trial", "memory_per_trial", "exclusive", "fail_fast")
    request = Request.of(
        database,
        chosen,
        shared.command_line(),
        time_budget=shared.seconds(options["time_budget"]),
        tuned=tuned,
        force=force,
        **{name: options[name] for name in names},
    )

    @contextlib.contextmanager
    def watch_of(suite: Suite) -> Iterator[Watch]:
        tracking = Tracking(trackers, suite, chosen.selection) if trackers else None
        with make_watch(suite.name, quiet=options["quiet"] or as_json, tracking=tracking) as watch:
            yield watch

    runs = run_suites(loaded, request, watch_of, report=options["report"])
    _show_runs(runs, as_json)
    return 0 if all(run.complete for run in runs) else 1


def _show_runs(runs: list[SuiteRun], as_json: bool) -> None:
    from harness.cli.verdicts import print_verdicts

    index = runs[0].report
    if as_json:
        click.echo(json.dumps({"runs": [run.record for run in runs], "report": str(index) if index else None}))
        return
    for run in runs:
        for label, error in run.result.failures:
            click.echo(f"failed: {label}: {error}", err=True)
        if run.result.stopped:
            click.echo(f"stopped early: {run.result.stopped}", err=True)
        print_verdicts(run.suite, run.scale, run.result.verdicts)
    if index is not None:
        click.echo(str(index))


PLAN_EXAMPLES = """
\b
Examples:
  harness plan adamp --scale small
  harness plan adamp --simulate --seeds 3..12 --law t3 --repeats 500

With --simulate the suite is judged many times on random scores without any effect: the share of suites with a finding
is the false-positive rate of its design (statistics, seeds, corrections). --law, --correlation, --effect, --repeats
and --random-seed belong to it.
"""


_LAW = "Draw scores from this law; binomial: of 100 items; skewed: lognormal on the first arm."
_CORRELATION = "Correlate an arm's scores between benchmarks under one seed."
_EFFECT = "Make the first arm of each claim better by this many standard deviations of a pair."


@click.command(name="plan", epilog=PLAN_EXAMPLES)
@click.argument("suite", metavar="SUITE")
@shared.selection_options()
@shared.database_option
@click.option("--simulate", is_flag=True, help="Estimate the false-positive rate by simulation; see below.")
@click.option("--law", type=click.Choice(["normal", "t3", "binomial", "skewed"]), default="normal", help=_LAW)
@click.option("--correlation", type=click.FloatRange(0, 1, max_open=True), default=0.0, help=_CORRELATION)
@click.option("--effect", type=float, default=0.0, help=_EFFECT)
@click.option("--repeats", type=click.IntRange(1), default=200, help="Simulate this many suites.")
@click.option("--random-seed", type=click.IntRange(0), default=0, help="Seed the simulation's draws.")
@shared.json_option
@click.pass_context
def plan_command(
    context: click.Context,
    /,
    suite: str,
    chosen: shared.Chosen,
    database: Path,
    as_json: bool,
    simulate: bool,
    **settings: Any,
) -> None:
    """Show the trials of a suite, stored and new, with their cost."""
    from click.core import ParameterSource

    from harness.suite import load_suite

    explicit = [name for name in settings if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if explicit and not simulate:
        raise click.UsageError(f"--{explicit[0].replace('_', '-')} is a setting of a simulation: add --simulate")
    loaded = load_suite(suite)
    if simulate:
        _show_simulation(loaded, chosen.selection, as_json, **settings)
    else:
        _show_plan(loaded, chosen.selection, database, as_json)


def _show_simulation(
    suite: Suite, selection: Selection, as_json: bool, *, repeats: int, random_seed: int, **noise: Any
) -> None:
    """Judge a suite on random scores many times; print the share with a finding."""
    from harness.judge.simulating import SimulatedNoise, simulate_suite

    result = simulate_suite(suite, selection, SimulatedNoise(**noise), repeats, seed=random_seed)
    if as_json:
        answer = {"suite": suite.name, "repeats": repeats, "mean_pairs": result.mean_pairs, "families": result.rows()}
        click.echo(json.dumps(answer))
        return
    click.echo(f"{suite.name}: {repeats} suites of {noise['law']} scores, {result.mean_pairs:.1f} seeds a test")
    label = "with a finding" if noise["effect"] else "with a false finding"
    for row in result.rows():
        share = f"{row['suites']:7.1%} ± {row['error']:.1%} of suites {label}"
        click.echo(f"  {row['family']:<12}{row['tests']:>4} tests {share}, {row['confirmed']:.1%} of tests confirmed")


def _show_plan(
    suite: Suite, selection: Selection, database: Path, as_json: bool, *, tuned: bool = True, force: bool = False
) -> None:
    """Print a plan and its tuned protocol as tables or as JSON."""
    from harness.app.pricing import price

    priced = price(suite, selection, database, tuned=tuned, force=force)
    cost, tuning = priced.estimate, priced.tuned
    if as_json:
        extra = {"core_seconds": cost.core_seconds, "tuned": list(map(asdict, tuning)), "warnings": priced.warnings}
        click.echo(json.dumps({**asdict(cost), **extra, "trial_list": priced.plan.identities()}))
        return
    _show_configurations(suite, priced)
    if tuning:
        _show_tuned(tuning)
    for message in priced.warnings:
        click.echo(f"warning: {message}", err=True)


def _show_configurations(suite: Suite, priced: PricedPlan) -> None:
    from harness.cli.terminal import counted, note, print_table

    plan, cost = priced.plan, priced.estimate
    numbers = ("seeds", "stored", "core-seconds", "MB")
    rows = []
    for each in cost.cells:
        seconds = f"{'~' if each.guessed else ''}{each.core_seconds:.0f}"
        memory = f"{each.memory_mb:.0f}" if each.memory_mb else ""
        own = plan.settings[each.benchmark].own
        stand_in = ", ".join(each.stand_in) or ("none: your own" if own else "as published")
        rows.append((each.benchmark, each.arm, stand_in, str(each.seeds), str(each.stored), seconds, memory))
    print_table(("benchmark", "arm", "stand-in", *numbers), rows, right=numbers, title=f"{suite.name} at {plan.scale}")
    for name in cost.absent:
        note(f"{name}: not defined at this scale")
    for name, base in plan.settings.items():
        if base.elsewhere:
            note(f"{name}: its results are imported: 'harness import FILE --suite {suite.path}'")
    click.echo(
        f"{counted(len(cost.cells), 'configuration')}, {counted(cost.trials, 'trial')}, {cost.reused} stored already; "
        f"about {cost.core_seconds:.0f} core-seconds to run" + (" (~: estimated)" if cost.guessed else "")
    )


def _show_tuned(rows: list[TunedCost]) -> None:
    from harness.cli.terminal import counted, print_table

    numbers = ("configurations", "tuning", "judged", "rates", "stored", "core-seconds")
    shown = [
        (
            row.benchmark,
            row.arm,
            str(row.configurations),
            str(row.tuning_trials),
            str(row.judged_trials),
            str(row.rate_trials),
            str(row.stored),
            str(round(row.core_seconds)),
        )
        for row in rows
    ]
    print_table(("benchmark", "arm", *numbers), shown, right=numbers, title="tuned protocol, in trials")
    tuning = sum(row.tuning_trials + row.rate_trials for row in rows)
    judged = sum(row.judged_trials for row in rows)
    click.echo(
        f"{counted(tuning, 'trial')} of tuning and learning-rate sensitivity, {judged} with chosen values (none "
        f"if an arm chooses its own); at most {sum(row.core_seconds for row in rows):.0f} core-seconds to run"
    )


_ADOPT = "If all numbers agree, accept the trials of older code as trials of this code."


@click.command(name="verify", epilog="Example: harness verify adamp --sample 20 --adopt")
@click.argument("suite", metavar="SUITE")
@shared.selection_options()
@shared.database_option
@click.option("--sample", type=click.IntRange(min=1), default=12, help="Run this many stored trials again.")
@click.option("--adopt", is_flag=True, help=_ADOPT)
@shared.executor_option
@click.option("--quiet", is_flag=True, help="Show no progress.")
@shared.json_option
def verify_command(suite: str, chosen: shared.Chosen, database: Path, as_json: bool, **options: Any) -> int:
    """Run stored trials again and compare every number to the last bit.

    The sample covers every task and method family of the suite, trials of older code first. The exit code is 1 if a
    number differs or nothing could be compared.
    """
    from harness.app.request import SessionRequest
    from harness.app.verify import verify
    from harness.cli.watch import make_watch
    from harness.suite import load_suite

    command, adopt = shared.command_line(), options["adopt"]
    loaded = load_suite(suite)
    own = (*chosen.methods, *loaded.own_methods)
    request = SessionRequest(database, executor=options["executor"], own_methods=own, command=command)
    with make_watch(loaded.name, quiet=options["quiet"] or as_json) as watch:
        verified = verify(loaded, chosen.selection, request, watch, sample=options["sample"], adopt=adopt)
    if as_json:
        click.echo(json.dumps({**asdict(verified), "agrees": verified.agrees}))
    else:
        _show_verified(verified, adopt=adopt)
    return 0 if verified.agrees else 1


def _show_verified(verified: Verification, *, adopt: bool) -> None:
    from harness.cli.terminal import counted

    for again in verified.repetitions:
        code = f"{'older' if again.older else 'this'} code{' (in another environment)' * again.other_environment}"
        if again.equal:
            click.echo(f"equal    {again.label}: {counted(again.numbers, 'number')}, {code}")
        else:
            what = again.error or ", ".join(again.differing[:6]) + (" …" if len(again.differing) > 6 else "")
            click.echo(f"DIFFERS  {again.label}: {what}; {code}")
    for group in verified.uncovered:
        click.echo(f"not covered: {group}: what its trials start from is gone")
    current, older = verified.current, verified.older
    click.echo(
        f"{counted(len(verified.repetitions), 'trial')} of {current + older} ran again, "
        f"{counted(verified.numbers, 'number')} compared; stored: {current} of this code, {older} of older code"
    )
    if not current + older:
        click.echo("no stored trials to verify; run them with 'harness run'")
    elif adopt:
        differs = any(not again.equal for again in verified.repetitions)
        reason = "not all agree" if differs else "not all is covered" if older else "nothing of older code is stored"
        why = "" if verified.adopted else f": {reason}"
        click.echo(f"{counted(verified.adopted, 'trial')} of older code adopted{why}")
