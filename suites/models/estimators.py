"""Models over feature vectors: scikit-learn's estimators, fitted once, a perceptron and a linear model."""

import importlib
import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError, choices
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import REQUIRED, option

PACKAGE = "sklearn"
DRAWN = {"random_state": "the seed of the trial draws it", "n_jobs": "the recipe's 'threads' sets it"}
LEAST = 1e-7


class Estimator(nn.Module):
    """A scikit-learn estimator with a network's outputs: logits (B, K) or predictions (B, 1).

    It has no parameters to train: the task calls ``fit`` once. Without ``classes`` it predicts numbers.
    """

    def __init__(self, name: str, estimator: Any, classes: int, random_state: int) -> None:
        super().__init__()
        self.name, self.estimator, self.classes = name, estimator, classes
        self.register_buffer("random_state", torch.tensor(random_state))

    def fit(self, features: Any, targets: np.ndarray, threads: int) -> None:
        """Fit features (N, F), dense or sparse, and targets (N,): class numbers or numbers."""
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
        """Log-probabilities (N, K), or predictions (N, 1), of dense or sparse features."""
        if not self.classes:
            return np.asarray(self.estimator.predict(features), dtype=np.float64).reshape(-1, 1)
        present = np.asarray(self.estimator.classes_, dtype=np.int64)
        probabilities = np.zeros((features.shape[0], self.classes))
        probabilities[:, present] = self.estimator.predict_proba(features)
        return np.log(probabilities.clip(LEAST))

    def forward(self, features: Tensor) -> Tensor:
        """``answers`` as float32 on the device of the features (B, F)."""
        outputs = self.answers(features.detach().cpu().numpy())
        return torch.tensor(outputs, dtype=torch.float32, device=features.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorOptions:
    """Options of the model ``sklearn``."""

    estimator: str = option(REQUIRED, "import path of the estimator: sklearn.ensemble.RandomForestClassifier")
    parameters: Mapping[str, Any] = option({}, "parameters of the estimator: {n_estimators: 200}")


def estimator_class(name: str, classes: int) -> Any:
    """Import a scikit-learn estimator for that many classes, or for numbers."""
    from sklearn.base import is_classifier, is_regressor

    wanted = "classifier" if classes else "regressor"
    module, _, last = name.rpartition(".")
    parts = module.split(".")
    imported: Any = None
    if parts[0] == PACKAGE and not any(part.startswith("_") for part in (*parts, last)):
        try:
            imported = getattr(importlib.import_module(module), last, None)
        except ImportError:
            imported = None
    if not (isinstance(imported, type) and imported.__module__.split(".")[0] == PACKAGE and hasattr(imported, "fit")):
        raise HarnessError(f"{PACKAGE}: unknown estimator '{name}' of scikit-learn; {choices(_usable(wanted), name)}")
    try:
        fits = (is_classifier if classes else is_regressor)(imported())
    except TypeError:  # an estimator that is built from others
        fits = False
    if not fits:
        raise HarnessError(
            f"{PACKAGE}: {name} is not a {wanted}, or needs other estimators; {choices(_usable(wanted), name)}"
        )
    return imported


def _usable(wanted: str) -> list[str]:
    """Import paths of self-contained estimators; classifiers must give probabilities."""
    from sklearn.utils import all_estimators

    names = []
    for name, estimator in all_estimators(type_filter=wanted):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of deprecated estimators
                fits = wanted == "regressor" or hasattr(estimator(), "predict_proba")
        except TypeError:
            continue
        if fits:
            public = itertools.takewhile(lambda part: not part.startswith("_"), estimator.__module__.split("."))
            names.append(".".join([*public, name]))
    return names


def build_estimator(request: ModelRequest[EstimatorOptions]) -> Estimator:
    """Build the unfitted estimator for ``facts``: perhaps ``classes``."""
    options, classes = request.options, int(request.facts.get("classes", 0))
    imported = estimator_class(options.estimator, classes)
    takes = imported().get_params(deep=False)
    for name, value in options.parameters.items():
        if name in DRAWN:
            raise HarnessError(f"{PACKAGE}: remove '{name}' of {options.estimator}: {DRAWN[name]}")
        if name not in takes:
            valid = choices([parameter for parameter in takes if parameter not in DRAWN], name)
            raise HarnessError(f"{PACKAGE}: unknown parameter '{name}' of {options.estimator}; {valid}")
        if isinstance(value, Mapping):
            raise HarnessError(f"{PACKAGE}: '{name}' of {options.estimator} is a mapping; expected a value or a list")
    arguments = {name: tuple(value) if isinstance(value, list) else value for name, value in options.parameters.items()}
    estimator = imported(**arguments)
    if classes and not hasattr(estimator, "predict_proba"):
        raise HarnessError(
            f"{PACKAGE}: {options.estimator} has no probabilities (predict_proba), which log-loss and roc-auc need; "
            f"{choices(_usable('classifier'), options.estimator)}"
        )
    # torch's generator is at the stream ``init``: the seed determines the estimator's draws like a network's weights
    state = int(torch.randint(2**31 - 1, ()))
    return Estimator(options.estimator, estimator, classes, state)


class Perceptron(nn.Module):
    """Linear layers, each but the last with optional norm, ReLU and dropout."""

    def __init__(self, features: int, outputs: int, hidden: tuple[int, ...], dropout: float, norm: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = features
        for width in hidden:
            layers.append(nn.Linear(before, width, bias=norm == "none"))
            if norm != "none":
                layers.append(nn.BatchNorm1d(width) if norm == "batch" else nn.LayerNorm(width))
            layers.append(nn.ReLU())
            if dropout:
                layers.append(nn.Dropout(dropout))
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(before, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) to (B, outputs)."""
        return self.head(self.body(features))


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceptronOptions:
    """Options of the model ``mlp``."""

    hidden: tuple[int, ...] = option((64, 64), "width of each hidden layer")
    dropout: float = option(0.0, "dropout after each hidden layer", low=0, high=0.95)
    norm: str = option("none", "norm of each hidden layer", choices=("none", "batch", "layer"))


def build_perceptron(request: ModelRequest[PerceptronOptions]) -> Perceptron:
    """Build the network for ``facts``: ``features`` and ``outputs``."""
    options, facts = request.options, request.facts
    return Perceptron(int(facts["features"]), int(facts["outputs"]), options.hidden, options.dropout, options.norm)


def build_linear(request: ModelRequest[Any]) -> Perceptron:
    """One linear layer for ``facts``: ``features`` and ``outputs``."""
    return Perceptron(int(request.facts["features"]), int(request.facts["outputs"]), (), 0.0, "none")


METADATA = (
    ModelMetadata(
        name="mlp",
        target="build_perceptron",
        summary="a multi-layer perceptron over feature vectors",
        source="Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, Nature 1986",
        options=PerceptronOptions,
    ),
    ModelMetadata(
        name="linear",
        target="build_linear",
        summary="one linear layer over feature vectors: logistic or least-squares regression by gradients",
        source="Cox, The regression analysis of binary sequences, JRSS B 1958",
    ),
    ModelMetadata(
        name="sklearn",
        target="build_estimator",
        summary="an estimator of scikit-learn, fitted once: forests, boosted trees, linear models, neighbours",
        source="Pedregosa et al., Scikit-learn: Machine Learning in Python, JMLR 2011",
        options=EstimatorOptions,
    ),
)
