"""``harness verify``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import database_option, selection, selection_options

if TYPE_CHECKING:
    from harness.execute.verify import Verification


@click.command(name="verify", epilog="Example: harness verify adamp --sample 20 --adopt")
@click.argument("suite", metavar="SUITE")
@selection_options
@database_option
@click.option("--sample", type=click.IntRange(min=1), default=12, show_default=True, help="Trials that run again.")
@click.option("--adopt", is_flag=True, help="Where all agree, trials of older code count as this code's.")
@click.option("--executor", type=click.Choice(["ray", "inline"]), default="ray", show_default=True)
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(suite: str, **options: Any) -> int:
    """Run stored trials again and compare every number to the last bit.

    The sample has every task and family of the suite among it, trials of older code first. Exit code 1 where a number
    differs or nothing could be compared.
    """
    from harness.cli.watch import make_watch
    from harness.execute.session import SessionRequest
    from harness.execute.verify import verify
    from harness.suite import load_suite

    chosen, methods = selection(
        options["scale"], options["benchmarks"], options["arms"], options["seeds"], options["overrides"]
    )
    request = SessionRequest(
        options["database"], executor=options["executor"], own_methods=methods,
        command=" ".join(["harness", *sys.argv[1:]]),
    )  # fmt: skip
    loaded = load_suite(suite)
    with make_watch(loaded.name, quiet=options["quiet"] or options["as_json"]) as watch:
        found = verify(loaded, chosen, request, watch, sample=options["sample"], adopt=options["adopt"])
    if options["as_json"]:
        click.echo(json.dumps({**asdict(found), "agrees": found.agrees}))
    else:
        _tell(found, adopt=options["adopt"])
    return 0 if found.agrees else 1


def _tell(found: Verification, *, adopt: bool) -> None:
    from harness.cli.terminal import counted

    for one in found.repetitions:
        place = " (in another environment)" if one.other_environment else ""
        code = "older code" if one.older else "this code"
        if one.equal:
            click.echo(f"equal    {one.label}: {counted(one.numbers, 'number')}, {code}{place}")
        else:
            what = one.error or ", ".join(one.differing[:6]) + (" …" if len(one.differing) > 6 else "")
            click.echo(f"DIFFERS  {one.label}: {what}; {code}{place}")
    for group in found.uncovered:
        click.echo(f"not covered: {group}: what its trials start from is gone")
    numbers = sum(one.numbers for one in found.repetitions)
    click.echo(
        f"{counted(len(found.repetitions), 'trial')} of {found.current + found.older} ran again, "
        f"{counted(numbers, 'number')} compared; stored: {found.current} of this code, {found.older} of older code"
    )
    if not found.repetitions:
        click.echo("nothing is stored that could be verified; 'harness run' measures it")
    elif adopt:
        why = "" if found.adopted else ": nothing of older code is stored" if not found.older else ": not all agree"
        click.echo(f"{counted(found.adopted, 'trial')} of older code adopted{why}")
