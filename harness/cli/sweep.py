"""``harness sweep``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from harness.cli.options import database_option, override_option, parse_overrides, scale_option


@click.command(name="sweep", epilog="Example: harness sweep adamp --benchmark imagenet-resnet18 --budget 24")
@click.argument("suite", metavar="SUITE")
@click.option("--benchmark", required=True, metavar="B", help="The benchmark to tune on.")
@click.option("--arm", "arms", multiple=True, metavar="A", help="Tune this arm; the first is the baseline.")
@click.option("--budget", type=click.IntRange(min=1), required=True, metavar="N", help="Configurations of each arm.")
@scale_option()
@click.option("--sampler", type=click.Choice(["random", "tpe", "gp", "grid"]), help="[default: the suite's]")
@click.option("--pruner", type=click.Choice(["none", "median", "wilcoxon", "hyperband"]), help="[default: the suite's]")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Seeds of a configuration.")
@click.option("--fresh", type=click.IntRange(min=2), metavar="N", help="Seeds of the comparison at the end.")
@override_option
@click.option("--executor", type=click.Choice(["ray", "inline"]), default="ray", show_default=True)
@click.option("--address", metavar="auto|HOST:PORT", help="Join a Ray cluster.")
@click.option("--gpus-per-trial", type=click.FloatRange(min=0), metavar="F")
@click.option(
    "--write-study", type=click.Path(path_type=Path), metavar="FILE", help="Also write an Optuna SQLite storage."
)
@database_option
@click.option("--quiet", is_flag=True, help="Only the result.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(suite: str, **options: Any) -> int:
    """Tune arms at equal budgets, and compare the chosen configurations on fresh seeds.

    Points that are stored are not run again; a larger budget goes on from a smaller one.
    """
    from harness.cli.verdicts import print_verdicts, verdict_json
    from harness.cli.watch import make_watch
    from harness.suite import load_suite
    from harness.sweep import SweepRequest, run_sweep

    loaded = load_suite(suite)
    request = SweepRequest(
        database=options["database"],
        benchmark=options["benchmark"],
        budget=options["budget"],
        arms=options["arms"],
        scale=options["scale"],
        sampler=options["sampler"],
        pruner=options["pruner"],
        seeds=options["seeds"],
        fresh=options["fresh"],
        overrides=parse_overrides(options["overrides"]),
        executor=options["executor"],
        address=options["address"],
        gpus_per_trial=options["gpus_per_trial"],
        command=" ".join(["harness", *sys.argv[1:]]),
    )
    with make_watch(f"sweep of {loaded.name}", quiet=options["quiet"] or options["as_json"]) as watch:
        result = run_sweep(loaded, request, watch)
    if options["write_study"] is not None:
        from harness.sweep.engine import write_study

        write_study(loaded, request, result, options["write_study"])
    if options["as_json"]:
        rows = {"sweep_id": result.sweep_id, "ran": result.ran, **result.summary}
        click.echo(json.dumps({**rows, "verdicts": verdict_json(result.verdicts)}))
    else:
        _print(result)
        print_verdicts(result.suite, request.scale, result.verdicts)
    return 0 if result.summary["equal"] else 1


def _print(result: Any) -> None:
    from rich.text import Text

    from harness.cli.terminal import console, counted, table

    title = f"sweep {result.sweep_id}: {counted(result.ran, 'trial')} ran"
    shown = table("arm", "told", "best on validation", "chosen", title=title)
    for arm, chosen in result.chosen.items():
        parameters = ", ".join(
            f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in chosen.get("params", {}).items()
        )
        best = f"{chosen['value']:.4g}" if chosen else "none"
        shown.add_row(Text(arm), str(result.summary["told"][arm]), best, Text(parameters))
    output = console()
    output.print(shown)
    for pair, differences in result.summary.get("differences", {}).items():
        picked = sorted({0, len(differences) // 4, len(differences) // 2, len(differences) - 1})
        line = ", ".join(f"{differences[k]:+.3g} at {k + 1}" for k in picked)
        output.print(f"expected best of B, {pair} (up is better): {line}", markup=False, highlight=False)
