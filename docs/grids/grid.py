"""Train arms at each value of an override and print their scores.

    python docs/grids/grid.py region_norm places2 --arm bn --arm instance \
        --key optimizer.adam.lr --values 1e-3,2e-3 --score validation:hole-psnr

The arms are baselines and the seeds are used by no verdict: a stand-in's rate and difficulty are chosen first.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from harness.execute.worker import Job, run_job
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite

FIRST_SEED = 100
"""Far above the seeds that are judged."""


@click.command()
@click.argument("suite")
@click.argument("benchmark")
@click.option("--arm", "arms", multiple=True, required=True)
@click.option("--key", required=True, help="The override: a recipe key, data.KEY or model.KEY.")
@click.option("--values", required=True, help="Its values, numbers separated by commas.")
@click.option("--score", "scores", multiple=True, required=True, help="SPLIT:METRIC to print; one or several.")
@click.option("--also", multiple=True, metavar="KEY=NUMBER", help="Another override, the same at every value.")
@click.option("--seeds", default=2, show_default=True, help="How many.")
def main(
    suite: str,
    benchmark: str,
    arms: Sequence[str],
    key: str,
    values: str,
    scores: Sequence[str],
    also: Sequence[str],
    seeds: int,
) -> None:
    """Print a line for each value and arm: means of the scores over the seeds."""
    loaded = load_suite(suite)
    kept = {name: _number(number) for name, _, number in (text.partition("=") for text in also)}
    chosen = tuple(range(FIRST_SEED, FIRST_SEED + seeds))
    print("value", "arm", *scores, sep="\t")
    for value in map(_number, values.split(",")):
        for arm in arms:
            plan = make_plan(loaded, Selection("mini", (benchmark,), (arm,), chosen, overrides={**kept, key: value}))
            rows: list[list[float]] = []
            for trial in plan.trials:
                with tempfile.TemporaryDirectory() as folder:
                    done = run_job(
                        Job(trial.trial_id, trial.benchmark, trial.arm, trial.spec, Path(folder)), lambda *_: None
                    )
                got = [done.score(*score.split(":")) for score in scores]
                if done.error or None in got:
                    raise click.ClickException(f"{trial.label} at {value}: {done.error or 'a score is missing'}")
                rows.append([float(number) for number in got if number is not None])
            means = [f"{statistics.mean(column):.2f}" for column in zip(*rows, strict=True)]
            print(f"{value:g}", arm, *means, sep="\t", flush=True)


def _number(text: str) -> int | float:
    return int(text) if text.strip().isdecimal() else float(text)


if __name__ == "__main__":
    main()
