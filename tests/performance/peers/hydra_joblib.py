"""Trials that do nothing by Hydra's multirun with the joblib launcher.

    python hydra_joblib.py --multirun hydra/launcher=joblib hydra.launcher.n_jobs=2 'number=range(200)'

Hydra keeps a folder a trial, with its configuration; the score is the function's value.
"""

from __future__ import annotations

from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore


@dataclass
class Config:
    """A trial's number."""

    number: int = 0


ConfigStore.instance().store(name="config", node=Config)


@hydra.main(version_base=None, config_name="config")
def trial(config: Config) -> float:
    """A score at once."""
    return -abs(config.number - 100.0)


if __name__ == "__main__":
    trial()
