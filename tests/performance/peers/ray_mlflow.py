"""Trials that do nothing by bare ``ray.remote``, each logged to MLflow by its worker: one parameter, one metric.

python ray_mlflow.py 200 sqlite:///FOLDER/mlflow.db
python ray_mlflow.py 200 file:FOLDER/mlruns
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # the file store is in maintenance

import mlflow
import ray


@ray.remote(num_cpus=1)
def trial(number: int, store: str, experiment: str) -> float:
    """A score at once, logged."""
    mlflow.set_tracking_uri(store)
    score = -abs(number - 100.0)
    with mlflow.start_run(experiment_id=experiment):
        mlflow.log_param("number", number)
        mlflow.log_metric("score", score)
    return score


def main(trials: int, store: str) -> None:
    """Run them two at a time."""
    mlflow.set_tracking_uri(store)
    experiment = mlflow.create_experiment("nothing")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    scores = ray.get([trial.remote(number, store, experiment) for number in range(trials)])
    assert len(scores) == trials
    assert len(mlflow.search_runs([experiment], max_results=50_000)) == trials


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
