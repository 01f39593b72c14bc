"""Tables: rows to a class or number, by network or estimator."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Evaluation, StepResult
from harness.trial.options import option
from suites.data.tables import TableData, TableSplit
from suites.models.estimators import Estimator
from suites.tasks.common import ShuffledTask
from suites.tasks.prediction_scores import (
    CLASS_SCORES,
    NUMBER_SCORES,
    class_evaluation,
    frequencies,
    with_trivial_numbers,
)

LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"squared": F.mse_loss, "absolute": F.l1_loss, "huber": F.huber_loss}
)
Features = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoding:
    """Columns as features, fitted to the training rows.

    A missing number becomes the training median, with an extra column of 0 and 1 that marks gaps if training has any.
    A missing category is a separate category. Each column keeps its ``categories`` most frequent in training; all
    others, and those unseen in training, share one.
    """

    numbers: Any
    levels: Any

    @classmethod
    def of(cls, train: TableSplit, categories: int) -> Encoding:
        """Fit the encoding to the training rows (HarnessError without columns)."""
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        numbers = levels = None
        if train.numbers.shape[1]:
            filled = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
            numbers = make_pipeline(filled, StandardScaler()).fit(train.numbers)
        if train.levels.shape[1]:
            levels = OneHotEncoder(
                max_categories=categories, handle_unknown="infrequent_if_exist", sparse_output=False, dtype=np.float32
            ).fit(train.levels)
        if numbers is None and levels is None:
            raise HarnessError("the table has no column to predict from")
        return cls(numbers, levels)

    def __call__(self, split: TableSplit) -> Features:
        """Encode the rows of a split as (N, features)."""
        parts = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found unknown categories")  # they count as rare ones
            if self.numbers is not None:
                parts.append(self.numbers.transform(split.numbers).astype(np.float32))
            if self.levels is not None:
                parts.append(self.levels.transform(split.levels).astype(np.float32))
        return np.concatenate(parts, axis=1)


def classes_of(table: TableData) -> tuple[str, ...]:
    """Classes of a target over all splits (else HarnessError): numbers by size, texts alphabetically."""
    targets = np.concatenate([split.targets for split in table.splits.values()])
    values = np.unique(targets)
    if len(values) < 2:
        raise HarnessError(f"{table.path}: '{table.target}' is always '{_text(values[0])}'; two classes are needed")
    if targets.dtype.kind == "f" and len(values) > max(20, len(targets) // 10):
        raise HarnessError(
            f"{table.path}: '{table.target}' has {len(values)} different numbers in {len(targets)} rows, too many for "
            f"classes; use the task tabular-regression, or another target"
        )
    return tuple(map(_text, values))


def class_numbers(split: TableSplit, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Class number of each row, (N,)."""
    number = {name: place for place, name in enumerate(classes)}
    return np.array([number[_text(value)] for value in split.targets], dtype=np.int64)


def numbers_of(table: TableData, split: TableSplit) -> npt.NDArray[np.float64]:
    """Targets as numbers, (N,) (HarnessError for texts)."""
    if split.targets.dtype.kind != "f":
        raise HarnessError(
            f"{table.path}: the target '{table.target}' is text ('{split.targets[0]}'), but a regression predicts "
            f"numbers; use the task tabular-classification, or another target"
        )
    return np.asarray(split.targets, dtype=np.float64)


def _text(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float | np.floating) else str(value)


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Features (B, F) and targets (B,): class numbers or standardised numbers."""

    features: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularOptions:
    """Options that both tasks on tables have."""

    categories: int = option(50, "most frequent categories of a column with a feature each", low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularClassificationOptions(TabularOptions):
    """Options of the task ``tabular-classification``."""

    label_smoothing: float = option(0.0, "share of the target spread over all classes", low=0, high=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularRegressionOptions(TabularOptions):
    """Options of the task ``tabular-regression``."""

    loss: str = option("squared", "loss of the standardised target", choices=("squared", "absolute", "huber"))


class Tabular(ShuffledTask):
    """Rows of a table as features; ``build`` fits an estimator."""

    options: Any
    splits: dict[str, RowBatch]
    targets: dict[str, np.ndarray]
    least_batch = 2
    shares = True

    def build(self) -> nn.Module:
        self.data: TableData = self.context.load_data()
        self.targets = self.read_targets()
        encoding = Encoding.of(self.data.splits["train"], self.options.categories)
        self.splits = {
            name: RowBatch(
                torch.tensor(encoding(split), device=self.device),
                torch.tensor(self.taught(self.targets[name]), device=self.device),
            )
            for name, split in self.data.splits.items()
        }
        train = self.splits["train"]
        self.model = self.context.build_model({"features": train.features.shape[1], **self.facts()}).to(self.device)
        self.trains = not isinstance(self.model, Estimator)
        if isinstance(self.model, Estimator):
            # targets in their own unit, as usual in scikit-learn: some estimators need positive ones
            self.model.fit(train.features.cpu().numpy(), self.targets["train"], self.recipe.threads)
        else:
            self.check_batch_size()
        return self.model

    @abstractmethod
    def read_targets(self) -> dict[str, np.ndarray]:
        """Targets (N,) by split in the unit of the scores."""

    @abstractmethod
    def taught(self, targets: np.ndarray) -> np.ndarray:
        """Targets (N,) in the unit of the loss."""

    @abstractmethod
    def facts(self) -> dict[str, int]:
        """Facts for the model beside the number of ``features``."""

    def batches(self, epoch: int) -> Iterator[RowBatch]:
        train = self.splits["train"]
        for places, _ in self.shuffled(epoch):
            yield RowBatch(train.features[places], train.targets[places])

    def outputs(self, split: str) -> np.ndarray:
        """Outputs of the model for all rows of a split, (N, outputs)."""
        parts = self.splits[split].features.split(self.recipe.eval_batch)
        return torch.cat([self.model(part) for part in parts]).double().cpu().numpy()


class TabularClassification(Tabular):
    """Cross-entropy on the classes of a table's target column."""

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="tabular-classification",
        target="TabularClassification",
        summary="rows of a table to a class, scored by accuracy, balanced accuracy, log-loss and ROC-AUC",
        slots=("optimizer",),
        metrics=(*CLASS_SCORES, *(f"trivial.{name}" for name in CLASS_SCORES)),
        reads=("table",),
        options=TabularClassificationOptions,
    )

    options: TabularClassificationOptions

    def read_targets(self) -> dict[str, np.ndarray]:
        """Class numbers; training rows of a single class are an error (HarnessError)."""
        self.classes = classes_of(self.data)
        targets = {name: class_numbers(split, self.classes) for name, split in self.data.splits.items()}
        if len(np.unique(targets["train"])) < 2:
            raise HarnessError(f"{self.data.path}: all training rows have the same class of '{self.data.target}'")
        self.prior = frequencies(targets["train"], len(self.classes))
        return targets

    def taught(self, targets: np.ndarray) -> np.ndarray:
        return targets

    def facts(self) -> dict[str, int]:
        return {"outputs": len(self.classes), "classes": len(self.classes)}

    def training_step(self, batch: RowBatch, step: int) -> StepResult:
        smoothing = self.options.label_smoothing
        return StepResult(F.cross_entropy(self.model(batch.features), batch.targets, label_smoothing=smoothing))

    def scores(self, split: str) -> Evaluation:
        """Scores with those of the dummy baseline; outcomes and costs by row."""
        probabilities = torch.tensor(self.outputs(split)).softmax(1).numpy()
        items = self.data.splits[split].items
        return class_evaluation(probabilities, self.targets[split], self.prior, items, self.classes)


class TabularRegression(Tabular):
    """A loss on the target, which is standardised by the training rows."""

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="tabular-regression",
        target="TabularRegression",
        summary="rows of a table to a number, scored by RMSE, MAE and R²",
        slots=("optimizer",),
        metrics=(*NUMBER_SCORES, *(f"trivial.{name}" for name in NUMBER_SCORES)),
        reads=("table",),
        options=TabularRegressionOptions,
    )

    options: TabularRegressionOptions

    def read_targets(self) -> dict[str, np.ndarray]:
        targets = {name: numbers_of(self.data, split) for name, split in self.data.splits.items()}
        self.mean, self.deviation = float(targets["train"].mean()), float(targets["train"].std())
        if self.deviation == 0:
            raise HarnessError(f"{self.data.path}: '{self.data.target}' is {self.mean:g} in every training row")
        return targets

    def taught(self, targets: np.ndarray) -> np.ndarray:
        return ((targets - self.mean) / self.deviation).astype(np.float32)

    def facts(self) -> dict[str, int]:
        return {"outputs": 1}

    def training_step(self, batch: RowBatch, step: int) -> StepResult:
        return StepResult(LOSSES[self.options.loss](self.model(batch.features)[:, 0], batch.targets))

    def scores(self, split: str) -> Evaluation:
        """Scores with those of the training mean; predictions and errors by row."""
        predicted, targets = self.outputs(split)[:, 0], self.targets[split]
        if self.trains:
            predicted = predicted * self.deviation + self.mean
        items = {
            "item": self.data.splits[split].items,
            "target": targets,
            "predicted": predicted,
            "absolute_error": np.abs(predicted - targets),
        }
        return Evaluation(with_trivial_numbers(predicted, targets, self.mean), items)


METADATA = (TabularClassification.metadata, TabularRegression.metadata)
