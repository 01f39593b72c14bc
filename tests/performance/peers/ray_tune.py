"""Trials that do nothing by Ray Tune with reused actors.

python ray_tune.py 200 FOLDER            # random search
python ray_tune.py 400 FOLDER optuna     # Optuna's TPE through Ray Tune's own search
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import ray
from ray import tune


class Nothing(tune.Trainable):
    """Its first step is its last; an actor takes the next configuration."""

    def setup(self, config: dict[str, Any]) -> None:
        """Once an actor."""
        self.lr = config["lr"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Once a trial."""
        self.lr = new_config["lr"]
        return True

    def step(self) -> dict[str, Any]:
        """A score at once."""
        return {"score": -((math.log10(self.lr) + 1) ** 2), "process": os.getpid(), "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing."""


def main(trials: int, folder: str, search: str) -> None:
    """Run them, two at a time."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    how: dict[str, Any] = {}
    if search == "optuna":
        from ray.tune.search import ConcurrencyLimiter
        from ray.tune.search.optuna import OptunaSearch

        how = {"search_alg": ConcurrencyLimiter(OptunaSearch(metric="score", mode="max"), max_concurrent=4)}
    tuner = tune.Tuner(
        tune.with_resources(Nothing, {"cpu": 1}),
        param_space={"lr": tune.loguniform(1e-3, 1.0)},
        tune_config=tune.TuneConfig(num_samples=trials, metric="score", mode="max", reuse_actors=True, **how),
        run_config=tune.RunConfig(storage_path=folder, verbose=0),
    )
    results = tuner.fit()
    assert len(results) == trials
    assert not results.errors
    assert len({result.metrics["process"] for result in results}) <= 4  # its actors were reused


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], (sys.argv[3:] or ["random"])[0])
