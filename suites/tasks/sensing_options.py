"""Options of the task ``sensing``."""

from __future__ import annotations

from dataclasses import dataclass

from harness.trial.options import option
from methods.alignment.help_set import CONFIDENCES, MODES
from methods.alignment.stopping import FORMS

STOPS = ("support", "best-support", "last")
REDUCTIONS = ("umap", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class SensingOptions:
    """Options of the task ``sensing``."""

    shots: int = option(1, "k: labelled target windows a class", low=1)
    neighbours: int = option(0, "n: number of voting shots; 0: k//2 + 1", low=0)
    help_share: float = option(0.5, "p: share of the target in the help set", low=0.01, high=1)
    help_mode: int = option(0, "0: equal quota a class; 1: surest of all; 2: share of each", choices=MODES)
    confidence: str = option("farthest", "agreeing neighbour that measures confidence", choices=CONFIDENCES)
    oracle_labels: bool = option(False, "true labels in the help set: the released code's leak")
    help_corrupted: float = option(0.0, "share of corrupted help labels", low=0, high=1)
    reduce: str = option("umap", "reduction of windows before the search for nearest shots", choices=REDUCTIONS)
    umap_dimensions: int = option(128, "d: dimensions of UMAP", low=1)
    stop: str = option("support", "reported epoch", choices=STOPS)
    stop_earliest: int = option(200, "no stop up to this epoch", low=0)
    stop_latest: int = option(350, "the next epoch always stops", low=0)
    stop_patience: int = option(30, "epochs without improvement that end the training", low=1)
    stop_relax_accuracy: float = option(0.8, "factor on the best accuracy at stop_earliest", low=0)
    stop_relax_loss: float = option(1.2, "factor on the best loss at stop_earliest", low=0)
    stop_triggers: str = option("released", "released: an accuracy that stays equal too", choices=FORMS)
    batch_norm: str = option("all", "passes that update running statistics", choices=("all", "source"))
    clip: str = option("encoder", "parameters limited by clip_norm", choices=("encoder", "all"))
    train_on: str = option("source", "target: in-domain upper bound", choices=("source", "target"))
    fluctuation_epochs: int = option(50, "number of last epochs in the reported fluctuation", low=2)
    floor_of: str = option("whole", "comparison of mmd_over_floor", choices=("whole", "classes"))
    permute_hidden: bool = option(False, "permute the target's hidden labels: a test of blindness")
