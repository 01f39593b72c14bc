"""Estimators of scikit-learn as models: fitted once to the training rows, without gradients or steps."""

from __future__ import annotations

import importlib
import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError, choices
from harness.registry.cards import ModelCard
from harness.trial.options import REQUIRED, option

if TYPE_CHECKING:
    from harness.trial.contracts import ModelRequest

PACKAGE = "sklearn"
DRAWN = {"random_state": "it is drawn by the seed of the trial", "n_jobs": "the recipe's 'threads' says it"}
LEAST = 1e-7


class Estimator(nn.Module):
    """An estimator of scikit-learn that answers as a network does: logits (B, K), or predictions (B, 1).

    It has no parameters that a loop could train: the task calls ``fit`` once.

    Args:
        name: the estimator's, for messages.
        estimator: not yet fitted.
        classes: how many there are; 0: it predicts numbers.
        random_state: what it draws from, where it draws at all.
    """

    def __init__(self, name: str, estimator: Any, classes: int, random_state: int) -> None:
        super().__init__()
        self.name, self.estimator, self.classes = name, estimator, classes
        self.register_buffer("random_state", torch.tensor(random_state))

    def fit(self, features: Any, targets: np.ndarray, threads: int) -> None:
        """Fit features (N, F), dense or sparse, and targets (N,): class numbers or numbers.

        Raises:
            HarnessError: the estimator refuses its parameters or the data.
        """
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        taken = self.estimator.get_params(deep=False)
        own = {"random_state": int(self.random_state), **({"n_jobs": threads} if threads > 1 else {})}
        self.estimator.set_params(**{key: value for key, value in own.items() if key in taken})
        try:
            with threadpool_limits(threads):
                self.estimator.fit(features, targets)
        except (ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise HarnessError(f"{PACKAGE}: {self.name} cannot be fitted: {reason}") from error

    def answers(self, features: Any) -> np.ndarray:
        """Log-probabilities (N, K) of every class, or predictions (N, 1), of features (N, F), dense or sparse."""
        if not self.classes:
            return np.asarray(self.estimator.predict(features), dtype=np.float64).reshape(-1, 1)
        known = np.asarray(self.estimator.classes_, dtype=np.int64)
        probabilities = np.zeros((features.shape[0], self.classes))
        probabilities[:, known] = self.estimator.predict_proba(features)
        return np.log(probabilities.clip(LEAST))

    def forward(self, features: Tensor) -> Tensor:
        """``answers`` as float32 on the device of the features (B, F)."""
        found = self.answers(features.detach().cpu().numpy())
        return torch.tensor(found, dtype=torch.float32, device=features.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorOptions:
    """Options of the model ``sklearn``."""

    estimator: str = option(REQUIRED, "of scikit-learn, as it is imported: sklearn.ensemble.RandomForestClassifier")
    parameters: Mapping[str, Any] = option({}, "of the estimator: {n_estimators: 200}")


def estimator_class(name: str, classes: int) -> Any:
    """The class of an estimator of scikit-learn that predicts so many classes, or numbers where there are none.

    Raises:
        HarnessError: no estimator of scikit-learn, or one that does not predict this; the nearest are named.
    """
    from sklearn.base import is_classifier, is_regressor

    wanted = "classifier" if classes else "regressor"
    module, _, last = name.rpartition(".")
    parts = module.split(".")
    found: Any = None
    if parts[0] == PACKAGE and not any(part.startswith("_") for part in (*parts, last)):
        try:
            found = getattr(importlib.import_module(module), last, None)
        except ImportError:
            found = None
    if not (isinstance(found, type) and found.__module__.split(".")[0] == PACKAGE and hasattr(found, "fit")):
        raise HarnessError(f"{PACKAGE}: no estimator '{name}' in scikit-learn; {choices(_known(wanted), name)}")
    try:
        fits = (is_classifier if classes else is_regressor)(found())
    except TypeError:  # one that is made of others
        fits = False
    if not fits:
        raise HarnessError(f"{PACKAGE}: {name} is no {wanted} by itself; {choices(_known(wanted), name)}")
    return found


def _known(wanted: str) -> list[str]:
    """The estimators that do without others, as they are imported; classifiers that give probabilities."""
    from sklearn.utils import all_estimators

    names = []
    for name, found in all_estimators(type_filter=wanted):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of those that will go
                fits = wanted == "regressor" or hasattr(found(), "predict_proba")
        except TypeError:
            continue
        if fits:
            public = itertools.takewhile(lambda part: not part.startswith("_"), found.__module__.split("."))
            names.append(".".join([*public, name]))
    return names


def build(request: ModelRequest[EstimatorOptions]) -> Estimator:
    """The estimator, not yet fitted, for ``facts``: ``classes`` where there are any.

    Raises:
        HarnessError: no such estimator, a parameter that it does not have, or no probabilities of classes.
    """
    options, classes = request.options, int(request.facts.get("classes", 0))
    found = estimator_class(options.estimator, classes)
    takes = found().get_params(deep=False)
    for name, value in options.parameters.items():
        if name in DRAWN:
            raise HarnessError(f"{PACKAGE}: leave '{name}' of {options.estimator} out: {DRAWN[name]}")
        if name not in takes:
            valid = choices([known for known in takes if known not in DRAWN], name)
            raise HarnessError(f"{PACKAGE}: {options.estimator} has no parameter '{name}'; {valid}")
        if isinstance(value, Mapping):
            raise HarnessError(
                f"{PACKAGE}: '{name}' of {options.estimator} is a mapping; a value or a list is expected"
            )
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.parameters.items()}
    estimator = found(**given)
    if classes and not hasattr(estimator, "predict_proba"):
        raise HarnessError(
            f"{PACKAGE}: {options.estimator} gives no probabilities (predict_proba), which log-loss and roc-auc are "
            f"computed from; {choices(_known('classifier'), options.estimator)}"
        )
    # torch's generator stands at the stream ``init``: as a network's weights, the estimator's draws are the seed's
    state = int(torch.randint(2**31 - 1, ()))
    return Estimator(options.estimator, estimator, classes, state)


CARD = ModelCard(
    name="sklearn",
    target="build",
    summary="an estimator of scikit-learn, fitted once: forests, boosted trees, linear models, neighbours",
    source="Pedregosa et al., Scikit-learn: Machine Learning in Python, JMLR 2011",
    options=EstimatorOptions,
)
