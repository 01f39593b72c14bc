"""``harness sweep``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from harness.base.text import number, score, setting
from harness.cli import options as shared

if TYPE_CHECKING:
    from harness.app.search import SweepResult


_ARM = "Tune this arm, or NAME=FILE.py:CLASS; the first is the baseline."
_BUDGET = "Try this many configurations of each arm."
_FRESH = "Compare the chosen configurations on this many new seeds."


@click.command(name="sweep", epilog="Example: harness sweep adamp --benchmark imagenet-resnet18 --budget 24")
@click.argument("suite", metavar="SUITE")
@click.option("--benchmark", required=True, metavar="B", help="Tune on this benchmark.")
@click.option("--arm", "arms", multiple=True, metavar="A", help=_ARM)
@click.option("--budget", type=click.IntRange(1, 100_000), required=True, metavar="N", help=_BUDGET)
@shared.scale_option()
@click.option("--sampler", metavar="random|tpe|grid", help="Choose configurations this way.  [default: from the suite]")
@click.option("--pruner", metavar="none|median", help="Stop weak ones early this way.  [default: from the suite]")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Run this many seeds of each configuration.")
@click.option("--fresh", type=click.IntRange(min=2), metavar="N", help=_FRESH)
@shared.override_option
@shared.execution_options
@shared.database_option
@click.option("--quiet", is_flag=True, help="Print only the result.")
@shared.json_option
def sweep_command(suite: str, overrides: tuple[str, ...], quiet: bool, as_json: bool, **options: Any) -> int:
    """Tune arms at equal budgets and compare chosen settings on new seeds.

    Stored trials are reused; a larger budget continues a smaller one.
    """
    from harness.app.search import SweepRequest, run_sweep
    from harness.cli.verdicts import print_verdicts
    from harness.cli.watch import make_watch
    from harness.plan.user_arms import with_user_arms
    from harness.results.verdict_text import verdict_record
    from harness.suite import load_suite

    loaded, options["arms"] = with_user_arms(load_suite(suite), options["arms"])
    # all other options have the names of the request's fields
    request = SweepRequest(**options, overrides=shared.parse_overrides(overrides), command=shared.command_line())
    with make_watch(f"sweep of {loaded.name}", quiet=quiet or as_json) as watch:
        result = run_sweep(loaded, request, watch)
    if as_json:
        verdicts = list(map(verdict_record, result.verdicts))
        click.echo(json.dumps({"sweep_id": result.sweep_id, "ran": result.ran, **result.summary, "verdicts": verdicts}))
    else:
        _print(result)
        print_verdicts(result.suite, request.scale, result.verdicts)
    return 0 if result.summary["equal"] else 1


def _print(result: SweepResult) -> None:
    from harness.cli.terminal import counted, print_table

    rows = []
    for arm, chosen in result.chosen.items():
        params = chosen.get("params", {}).items()
        parameters = ", ".join(f"{k}={setting(v)}" if isinstance(v, float) else f"{k}={v}" for k, v in params)
        best = score(chosen["value"]) if chosen else "none"
        rows.append((arm, str(result.summary["told"][arm]), best, parameters))
    title = f"sweep {result.sweep_id}: {counted(result.ran, 'trial')} ran"
    print_table(("arm", "tried", "best on validation", "chosen"), rows, title=title)
    for pair, differences in result.summary.get("differences", {}).items():
        picked = sorted({0, len(differences) // 4, len(differences) // 2, len(differences) - 1})
        line = ", ".join(f"{number(differences[k], sign=True)} at {k + 1}" for k in picked)
        click.echo(f"expected best of B, {pair} (up is better): {line}")
