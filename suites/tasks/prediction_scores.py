"""Scores of predicted probabilities and of predicted numbers, with those of the trivial predictor."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.trial.contracts import Evaluation

Numbers = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]

CLASS_SCORES = ("accuracy", "balanced-accuracy", "log-loss", "roc-auc")
"""What ``class_scores`` reports."""
NUMBER_SCORES = ("rmse", "mae", "r2")
"""What ``number_scores`` reports."""
LEAST = 1e-7  # a probability of 0 would cost infinitely much


def class_scores(probabilities: Numbers, labels: Classes) -> dict[str, float]:
    """Accuracy, mean recall and area under the ROC curve in percent, mean negative log likelihood in nats.

    Args:
        probabilities: (N, K) in 0–1.
        labels: (N,) class numbers. Recall and area are means over the classes that there are; the area is that of the
            second class where K is 2, else of each class against all others. NaN where there is one class alone.
    """
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    said = probabilities.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are named and not there
        balanced = float(balanced_accuracy_score(labels, said))
    there = np.unique(labels)
    if len(there) < 2:
        area = math.nan
    elif probabilities.shape[1] == 2:
        area = float(roc_auc_score(labels, probabilities[:, 1]))
    else:
        area = float(np.mean([roc_auc_score(labels == each, probabilities[:, each]) for each in there]))
    return {
        "accuracy": 100 * float((said == labels).mean()),
        "balanced-accuracy": 100 * balanced,
        "log-loss": float(costs(probabilities, labels).mean()),
        "roc-auc": 100 * area,
    }


def costs(probabilities: Numbers, labels: Classes) -> Numbers:
    """(N,) negative log likelihoods in nats."""
    return -np.log(probabilities[np.arange(len(labels)), labels].clip(LEAST, 1.0))


def frequencies(labels: Classes, classes: int) -> Numbers:
    """(K,) the share of each class: what the trivial predictor says of every item."""
    return np.bincount(labels, minlength=classes) / len(labels)


def with_trivial_classes(probabilities: Numbers, labels: Classes, prior: Numbers) -> dict[str, float]:
    """``CLASS_SCORES``, and as ``trivial.*`` those of the training frequencies, which name the majority class."""
    constant = np.broadcast_to(prior, probabilities.shape)
    trivial = {f"trivial.{name}": value for name, value in class_scores(constant, labels).items()}
    return {**class_scores(probabilities, labels), **trivial}


def class_evaluation(
    probabilities: Numbers, labels: Classes, prior: Numbers, items: Classes, names: Sequence[str]
) -> Evaluation:
    """Scores and those of the trivial predictor; by item whether it was right and what it cost.

    Args:
        probabilities, labels: as of ``class_scores``.
        prior: (K,) as of ``frequencies``.
        items: (N,) the number of each item in the whole data.
        names: of the classes.
    """
    said = probabilities.argmax(1)
    by_item = {
        "item": items,
        "correct": said == labels,
        "cost": costs(probabilities, labels),
        "label": labels.astype(np.int16),
        "predicted": said.astype(np.int16),
        "classes": np.array(names, dtype=np.str_),
    }
    return Evaluation(with_trivial_classes(probabilities, labels, prior), by_item)


def number_scores(predicted: Numbers, targets: Numbers) -> dict[str, float]:
    """Root mean square error and mean absolute error in the target's unit, and the share of variance explained (R²).

    R² is NaN where there are fewer than two targets, or all are equal.
    """
    errors = predicted - targets
    spread = float(((targets - targets.mean()) ** 2).sum())
    return {
        "rmse": float(np.sqrt((errors**2).mean())),
        "mae": float(np.abs(errors).mean()),
        "r2": 1 - float((errors**2).sum()) / spread if spread > 0 else math.nan,
    }


def with_trivial_numbers(predicted: Numbers, targets: Numbers, mean: float) -> dict[str, float]:
    """``NUMBER_SCORES``, and as ``trivial.*`` those of the training mean."""
    trivial = number_scores(np.full_like(targets, mean), targets)
    return {**number_scores(predicted, targets), **{f"trivial.{name}": value for name, value in trivial.items()}}
