"""Pairs that are splits, folds or repeats of one data set: the ratio that corrects their t test."""

import math
from collections.abc import Mapping, Sequence

from harness.errors import HarnessError
from harness.judge.resampled import is_fold, is_resampled

K_FOLD = "k-fold"
Ratio = float | str | None
"""A ratio n_test/n_train as a number or its text, or ``k-fold``."""
EXAMPLE = "as in --resampled 0.25 for splits 80/20"


def checked_ratio(stated: Ratio) -> float | str | None:
    """The ratio as a number, or ``k-fold``.

    Raises:
        HarnessError: it is neither.
    """
    if stated is None or stated == K_FOLD:
        return stated
    try:
        ratio = float(stated)
    except (TypeError, ValueError):
        ratio = math.nan
    if not 0 < ratio < math.inf:
        raise HarnessError(f"--resampled {stated}: not a ratio n_test/n_train above 0, nor 'k-fold'; {EXAMPLE}")
    return ratio


def pairing_ratio(
    place: str, columns: Mapping[str, Sequence[Sequence[str]]], stated: Ratio, *, independent: bool
) -> float:
    """n_test/n_train of pairs named by columns; 0 if the pairs are independent.

    Args:
        place: the table or file, for messages.
        columns: the values of each pairing column, by benchmark.
        stated: ``--resampled``; ``independent``: ``--independent``.

    Raises:
        HarnessError: a column has the name of a split, fold, repeat or random state and neither option is given.
    """
    ratio = checked_ratio(stated)
    if ratio is not None and independent:
        raise HarnessError("--resampled and --independent exclude each other; give one")
    if isinstance(ratio, str):
        return _of_folds(place, columns)
    if ratio is not None:
        return ratio
    named = next(filter(is_resampled, columns), None)
    if named is None or independent:
        return 0.0
    raise HarnessError(
        f"{place}: '{named}' pairs the results. Splits, folds and repeats of one data set share training items; taken "
        "as independent, up to 56 % of comparisons without a difference are confirmed or reversed. Give the ratio of "
        "test to training items with --resampled RATIO, as 0.25 for splits 80/20 (k-fold: from the folds of the "
        f"table), or --independent if each {named} has separate data or is a training seed on one fixed split"
    )


def _of_folds(place: str, columns: Mapping[str, Sequence[Sequence[str]]]) -> float:
    """1/(k − 1) from the number of folds."""
    folds = [name for name in columns if is_fold(name)]
    if len(folds) != 1:
        raise HarnessError(
            f"{place}: --resampled k-fold counts the values of the one pairing column that is named fold, and the "
            f"results are paired by {' and '.join(map(repr, columns))}; give the ratio n_test/n_train, {EXAMPLE}"
        )
    counts = sorted({len(set(values)) for values in columns[folds[0]]})
    if len(counts) != 1 or counts[0] < 2:
        raise HarnessError(
            f"{place}: --resampled k-fold needs one number of folds, at least 2, and '{folds[0]}' has "
            f"{' and '.join(map(str, counts))}; give the ratio n_test/n_train, {EXAMPLE}"
        )
    return 1.0 / (counts[0] - 1)
