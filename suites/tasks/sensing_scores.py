"""Options of ``sensing``, scores over its epochs, alignment of classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.trial.options import option
from methods.alignment.diagnostics import class_alignment, fluctuation, misaligned_share
from methods.alignment.help_set import CONFIDENCES, MODES
from methods.alignment.mk_mmd import mk_mmd_loss
from methods.alignment.stopping import FORMS, StoppingRule
from suites.data.types import Labels

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


class EpochsState(TypedDict):
    """State of ``Epochs``."""

    predictions: list[Tensor]
    accuracies: list[float]
    losses: list[float]


@dataclass(slots=True)
class Epochs:
    """Target predictions (R,), shots' accuracy in percent and loss by epoch."""

    predictions: list[Labels] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, predictions: Labels) -> Epochs:
        """A single epoch without scores of the shots."""
        return cls([predictions], [float("nan")], [float("nan")])

    def __len__(self) -> int:
        return len(self.predictions)

    def append(self, predictions: Labels, accuracy: float, loss: float) -> None:
        self.predictions.append(predictions)
        self.accuracies.append(accuracy)
        self.losses.append(loss)

    def only(self, chosen: npt.NDArray[np.bool_]) -> Epochs:
        """The same epochs on some of the windows."""
        return Epochs([row[chosen] for row in self.predictions], self.accuracies, self.losses)

    def matrix(self) -> Labels:
        """(epochs, R)."""
        return np.stack(self.predictions).astype(np.int64)

    def stop(self, kind: str, rule: StoppingRule) -> int:
        """The reported epoch, from 0; the last if the rule never stopped."""
        last = len(self) - 1
        if kind == "support" and rule.stopped:
            return min(last, rule.epoch - 1)
        if kind == "best-support" and rule.best_epoch:
            return min(last, rule.best_epoch - 1)
        return last

    def balanced(self, labels: Labels) -> npt.NDArray[np.float64]:
        """Balanced accuracy of each epoch in percent, over classes that occur."""
        hits = self.matrix() == labels
        return 100 * np.mean([hits[:, labels == label].mean(axis=1) for label in np.unique(labels)], axis=0)

    def accuracy(self, labels: Labels) -> npt.NDArray[np.float64]:
        """Accuracy of each epoch in percent."""
        return 100 * (self.matrix() == labels).mean(axis=1)

    def hindsight(self, rule: StoppingRule, labels: Labels, kind: str) -> dict[str, float]:
        """Compare the reported epoch with the best one, in hindsight.

        ``target_skill`` is (balanced accuracy − 1/C)/(1 − 1/C) at the reported epoch, C the number of classes.
        ``spearman_support_loss`` correlates the shots' loss with the target's accuracy.
        """
        from scipy.stats import spearmanr

        balanced, accuracy = self.balanced(labels), self.accuracy(labels)
        reported = self.stop(kind, rule)
        chance = 100 / len(np.unique(labels))
        report = {
            "stop_minus_oracle_gap": float(accuracy.max() - accuracy[reported]),
            "target_skill": float((balanced[reported] - chance) / (100 - chance)) if chance < 100 else float("nan"),
        }
        losses = np.array(self.losses)
        if len(self) > 2 and np.isfinite(losses).all() and np.ptp(losses) > 0 and np.ptp(accuracy) > 0:
            report["spearman_support_loss"] = float(spearmanr(losses, accuracy).statistic)
        return report

    def state(self) -> EpochsState:
        rows = [torch.tensor(row) for row in self.predictions]
        return {"predictions": rows, "accuracies": list(self.accuracies), "losses": list(self.losses)}

    @classmethod
    def restored(cls, state: EpochsState) -> Epochs:
        return cls([row.numpy() for row in state["predictions"]], list(state["accuracies"]), list(state["losses"]))


def scores(epochs: Epochs, rule: StoppingRule, labels: Labels, options: SensingOptions) -> dict[str, float]:
    """Scores of the reported epoch and of other choices, and the fluctuation."""
    balanced, accuracy = epochs.balanced(labels), epochs.accuracy(labels)
    reported = epochs.stop(options.stop, rule)
    spread = fluctuation(accuracy.tolist(), options.fluctuation_epochs)
    return {
        "balanced-accuracy": float(balanced[reported]),
        "target-accuracy": float(accuracy[reported]),
        # a method without training has one epoch and no fluctuation
        "epoch-to-epoch-accuracy-fluctuation": spread if len(epochs) > 1 else 0.0,
        **{f"balanced-accuracy_{kind}": float(balanced[epochs.stop(kind, rule)]) for kind in STOPS},
        "balanced-accuracy_oracle": float(balanced.max()),
        "target-accuracy_oracle": float(accuracy.max()),
    }


def alignment(
    source: Tensor, source_labels: Tensor, target: Tensor, labels: Tensor, classes: int, seed: int
) -> dict[str, float]:
    """MK-MMD of two domains over that of two halves of the source: ``whole``, and the mean over ``classes``."""
    by_class = class_alignment(source, source_labels, target, labels, classes, seed=seed)
    ratios = by_class.mmd / by_class.floor
    with torch.no_grad():
        order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed)).to(source.device)
        half = len(order) // 2
        floor = float(mk_mmd_loss(source[order[:half]], source[order[half:]]))
        whole = float(mk_mmd_loss(source, target))
    return {
        "misaligned_share": misaligned_share(source, source_labels, target, labels, classes),
        "mmd_over_floor.whole": whole / floor if floor > 0 else float("nan"),
        "mmd_over_floor.classes": float(ratios[ratios.isfinite()].mean()),
    }
