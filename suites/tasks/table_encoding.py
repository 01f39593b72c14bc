"""Features of a table's rows: numbers standardised, categories one-hot, gaps filled.

Medians, means and categories are learned from the training rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from suites.data.tables import TableData, TableSplit

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
        """Fit the encoding to the training rows.

        Raises:
            HarnessError: the table has no column.
        """
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
        import warnings

        parts = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found unknown categories")  # they count as rare ones
            if self.numbers is not None:
                parts.append(self.numbers.transform(split.numbers).astype(np.float32))
            if self.levels is not None:
                parts.append(self.levels.transform(split.levels).astype(np.float32))
        return np.concatenate(parts, axis=1)


def classes_of(table: TableData) -> tuple[str, ...]:
    """Classes of a target over all splits: numbers by size, texts alphabetically.

    Raises:
        HarnessError: a single class, or too many different numbers for classes.
    """
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
    """Targets as numbers, (N,).

    Raises:
        HarnessError: the targets are texts.
    """
    if split.targets.dtype.kind != "f":
        raise HarnessError(
            f"{table.path}: the target '{table.target}' is text ('{split.targets[0]}'), but a regression predicts "
            f"numbers; use the task tabular-classification, or another target"
        )
    return np.asarray(split.targets, dtype=np.float64)


def _text(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float | np.floating) else str(value)
