"""Small tables of scikit-learn: iris, wine, breast cancer and diabetes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.splitting import USUAL, drawn, shares_of
from suites.data.tables import TableData, TableSplit, strata_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledTableOptions:
    """Options of scikit-learn's tables."""

    split: Mapping[str, Any] = option(dict(USUAL), "shares or counts of random splits")


def load_bundled(request: DataRequest[BundledTableOptions]) -> TableData:
    """Read the table of the source's name, split at random.

    Raises:
        HarnessError: an impossible split.
    """
    from sklearn import datasets

    name = request.name.replace("-", "_")
    more = {"scaled": False} if name == "diabetes" else {}
    loaded = getattr(datasets, f"load_{name}")(**more)
    numbers = np.asarray(loaded.data, dtype=np.float64)
    classes = getattr(loaded, "target_names", None)
    target = np.asarray(loaded.target, dtype=np.float64) if classes is None else classes[loaded.target].astype(np.str_)
    places = drawn(request, shares_of(request.options.split, request.name) or USUAL, strata_of(target))
    no_levels = np.empty((len(numbers), 0), dtype=np.int64)
    splits = {split: TableSplit(numbers[part], no_levels[part], target[part], part) for split, part in places.items()}
    return TableData(splits, tuple(map(str, loaded.feature_names)), (), (), "target", name)
