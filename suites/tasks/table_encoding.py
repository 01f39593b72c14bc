"""What a network or an estimator reads of a table's rows: numbers standardised, categories one-hot, gaps filled.

Everything that is learnt of the columns (medians, means, which categories there are) is learnt of the training rows.
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

    A missing number becomes the training median, beside a column of 0 and 1 that marks it where training has gaps too.
    A missing category is one of its own. Of each column the ``categories`` most frequent in training are kept; all
    others, and those that training never saw, share one.
    """

    numbers: Any
    levels: Any

    @classmethod
    def of(cls, train: TableSplit, categories: int) -> Encoding:
        """Fitted to the training rows.

        Raises:
            HarnessError: there is no column.
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
        """(N, features) of the rows of a split."""
        import warnings

        parts = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found unknown categories")  # they share the rare ones' column
            if self.numbers is not None:
                parts.append(self.numbers.transform(split.numbers).astype(np.float32))
            if self.levels is not None:
                parts.append(self.levels.transform(split.levels).astype(np.float32))
        return np.concatenate(parts, axis=1)


def classes_of(table: TableData) -> tuple[str, ...]:
    """The classes that a target names, in all splits: numbers by size, texts by letters.

    Raises:
        HarnessError: a single one, or so many different numbers that it is none of classes.
    """
    targets = np.concatenate([split.targets for split in table.splits.values()])
    values = np.unique(targets)
    if len(values) < 2:
        raise HarnessError(f"{table.path}: '{table.target}' is always '{_text(values[0])}'; two classes are needed")
    if targets.dtype.kind == "f" and len(values) > max(20, len(targets) // 10):
        raise HarnessError(
            f"{table.path}: '{table.target}' has {len(values)} different numbers in {len(targets)} rows, which are no "
            f"classes; use the task tabular-regression, or another target"
        )
    return tuple(map(_text, values))


def class_numbers(split: TableSplit, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """(N,) the number of each row's class."""
    number = {name: place for place, name in enumerate(classes)}
    return np.array([number[_text(value)] for value in split.targets], dtype=np.int64)


def numbers_of(table: TableData, split: TableSplit) -> npt.NDArray[np.float64]:
    """(N,) the targets as numbers.

    Raises:
        HarnessError: they are texts.
    """
    if split.targets.dtype.kind != "f":
        raise HarnessError(
            f"{table.path}: the target '{table.target}' is text ('{split.targets[0]}'), and a regression predicts "
            f"numbers; use the task tabular-classification, or another target"
        )
    return np.asarray(split.targets, dtype=np.float64)


def _text(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float | np.floating) else str(value)
