"""Scores of predicted probabilities and numbers, with those of the dummy baseline."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.trial.contracts import Evaluation

Numbers = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]

CLASS_SCORES = ("accuracy", "balanced-accuracy", "log-loss", "roc-auc")
"""Metrics of ``class_scores``."""
NUMBER_SCORES = ("rmse", "mae", "r2")
"""Metrics of ``number_scores``."""
LEAST = 1e-7  # a probability of 0 would have an infinite loss


def class_scores(probabilities: Numbers, labels: Classes) -> dict[str, float]:
    """Accuracy, mean recall and ROC-AUC in percent, log loss in nats, of (N, K) in 0–1.

    Recall and area are means over the classes that occur; the area is that of the second class for K = 2, else of each
    class against all others. NaN if only one class occurs.
    """
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    predicted = probabilities.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that do not occur
        balanced = float(balanced_accuracy_score(labels, predicted))
    present = np.unique(labels)
    if len(present) < 2:
        area = math.nan
    elif probabilities.shape[1] == 2:
        area = float(roc_auc_score(labels, probabilities[:, 1]))
    else:
        area = float(np.mean([roc_auc_score(labels == each, probabilities[:, each]) for each in present]))
    return {
        "accuracy": 100 * float((predicted == labels).mean()),
        "balanced-accuracy": 100 * balanced,
        "log-loss": float(costs(probabilities, labels).mean()),
        "roc-auc": 100 * area,
    }


def costs(probabilities: Numbers, labels: Classes) -> Numbers:
    """Negative log likelihoods (N,) in nats."""
    return -np.log(probabilities[np.arange(len(labels)), labels].clip(LEAST, 1.0))


def frequencies(labels: Classes, classes: int) -> Numbers:
    """Share of each class (K,): the dummy baseline's prediction for every item."""
    return np.bincount(labels, minlength=classes) / len(labels)


def class_evaluation(
    probabilities: Numbers, labels: Classes, prior: Numbers, items: Classes, names: Sequence[str]
) -> Evaluation:
    """``CLASS_SCORES``, those of the training frequencies as ``trivial.*``; outcomes and costs by item."""
    constant = class_scores(np.broadcast_to(prior, probabilities.shape), labels)
    trivial = {f"trivial.{name}": value for name, value in constant.items()}
    by_item = class_items(items, probabilities.argmax(1), labels, names)
    by_item["cost"] = costs(probabilities, labels)
    return Evaluation({**class_scores(probabilities, labels), **trivial}, by_item)


def class_items(
    items: Classes, predicted: Classes, labels: Classes, names: Sequence[str]
) -> dict[str, npt.NDArray[np.generic]]:
    """Outcomes by item, and the names of the classes, for reports."""
    return {
        "item": items,
        "correct": predicted == labels,
        "label": labels.astype(np.int16),
        "predicted": predicted.astype(np.int16),
        "classes": np.array(names, dtype=np.str_),
    }


def number_scores(predicted: Numbers, targets: Numbers) -> dict[str, float]:
    """Root mean square and mean absolute error, and R² (NaN without spread)."""
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
