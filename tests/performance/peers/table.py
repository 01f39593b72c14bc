"""Runs every peer and ``harness run`` at two numbers of trials and prints what each further trial takes.

See the README beside it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SMALL, LARGE = 200, 1000
SUITE = """
suite: nothing
title: A score at once
seeds: {min: 3, max: 12}
arms:
  base: {role: baseline, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: base}}
  better: {role: method, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: better, effect: 3.0}}
benchmarks:
  known:
    define:
      benchmark: known
      title: A score at once
      task: synthetic
      metrics: {score: {unit: points, better: higher}}
      mini: {data: {name: nothing}, model: {name: scalar}, recipe: {steps: 1, own_sd: 0.3}}
facts:
  - {id: nothing-better, suite: nothing, benchmark: known, metric: score, unit: points, better: higher, method: better,
     baseline: base, published: {method: 53, baseline: 50, difference: 3}, kind: difference, statement: It is better.}
claims:
  - {id: nothing-better, benchmarks: [known], arm: better, against: [base], primary: false}
sweep:
  arms: [base, better]
  spaces:
    "*": {optimizer.lr: {low: 1.0e-3, high: 1.0, log: true}, optimizer.momentum: {choices: [0.0]},
          optimizer.weight_decay: {choices: [0.0]}}
"""


def commands(folder: Path, python: str, suite: Path) -> dict[str, Callable[[int], list[str]]]:
    """The command of each peer by name, for a number of trials; what it writes lies in the folder."""
    ours = [python, "-m", "harness", "run", str(suite), "--quiet", "--no-report", "--db", str(folder / "ours.duckdb")]
    hydra = [
        python,
        str(HERE / "hydra_joblib.py"),
        "--multirun",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        f"hydra.sweep.dir={folder / 'hydra'}",
    ]
    return {
        "harness run, ray": lambda n: [*ours, "--executor", "ray", "--seeds", str(n // 2)],
        "harness run, inline": lambda n: [*ours, "--executor", "inline", "--seeds", str(n // 2)],
        "Hydra, joblib launcher": lambda n: [*hydra, f"number=range({n})"],
        "ray.remote, MLflow in SQLite": lambda n: [
            python,
            str(HERE / "ray_mlflow.py"),
            str(n),
            f"sqlite:///{folder / 'mlflow.db'}",
        ],
        "ray.remote, MLflow in files": lambda n: [
            python,
            str(HERE / "ray_mlflow.py"),
            str(n),
            f"file:{folder / 'mlruns'}",
        ],
        "Ray Tune, reused actors": lambda n: [python, str(HERE / "ray_tune.py"), str(n), str(folder / "tune")],
    }


def searches(folder: Path, python: str, suite: Path) -> dict[str, Callable[[int], list[str]]]:
    """The command of a sweep by each, for a number of points."""
    ours = [
        python,
        "-m",
        "harness",
        "sweep",
        str(suite),
        "--benchmark",
        "known",
        "--quiet",
        "--fresh",
        "2",
        "--db",
        str(folder / "ours.duckdb"),
        "--sampler",
        "tpe",
    ]
    tune = [python, str(HERE / "ray_tune.py")]
    return {
        "harness sweep, tpe": lambda n: [*ours, "--budget", str(n // 2)],
        "Ray Tune with Optuna's search": lambda n: [*tune, str(n), str(folder / "tune"), "optuna"],
    }


def seconds(command: list[str], folder: Path) -> float:
    """Of a whole command."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    with (folder / "log.txt").open("w") as log:
        began = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False)
        taken = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{(folder / 'log.txt').read_text()[-3000:]}")
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="peers whose name has this in it")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--sweep", type=int, metavar="POINTS", help="sweeps of so many points and of half of them")
    parser.add_argument("--trials", type=int, nargs=2, metavar="N", default=[SMALL, LARGE], help="the two numbers")
    given = parser.parse_args()
    small, large = (given.sweep // 2, given.sweep) if given.sweep else given.trials
    named = ("hydra-core", "hydra-joblib-launcher", "joblib", "mlflow", "ray", "optuna", "torch")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in named), flush=True)
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(given.turns):
        for number in (small, large):
            for name in commands(Path(), "", Path()) if not given.sweep else searches(Path(), "", Path()):
                if given.only is None or given.only in name:
                    with tempfile.TemporaryDirectory() as made:
                        folder = Path(made)
                        suite = folder / "nothing.yaml"
                        suite.write_text(SUITE)
                        kinds = searches if given.sweep else commands
                        command = kinds(folder, sys.executable, suite)[name](number)
                        taken.setdefault((name, number), []).append(seconds(command, folder))
                        print(f"  {name}: {number} in {taken[name, number][-1]:.1f} s", flush=True)
    print(f"\n| | {small:,}, s | {large:,}, s | each further, ms |\n|---|---|---|---|")
    for name in dict.fromkeys(name for name, _ in taken):
        few, many = median(taken[name, small]), median(taken[name, large])
        print(f"| {name} | {few:.1f} | {many:.1f} | {1e3 * (many - few) / (large - small):.1f} |")


if __name__ == "__main__":
    main()
