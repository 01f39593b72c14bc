"""Pairs that split one data set: their names and their test."""

import re

FOLDS = ("fold", "kfold", "cv")
OTHERS = ("split", "repeat", "repet", "replic", "resampl", "shuffl", "partition", "bootstrap", "randomstate")
"""Beginnings of words that name splits of one data set; folds apart from all others."""


def resampled_test(ratio: float) -> str:
    """The name of the test of resampled pairs (Nadeau and Bengio 2003)."""
    return f"corrected resampled t test (n_test/n_train {ratio:.3g})"


def is_resampled(name: str) -> bool:
    """True for a name of a split, fold, repeat or random state: ``cv_fold``, ``splitSeed``."""
    return any(word.startswith((*FOLDS, *OTHERS)) or word in ("rep", "reps") for word in _words(name))


def is_fold(name: str) -> bool:
    """True if the values are folds alone: those of ``repeat_fold`` are more than one cross-validation has."""
    words = _words(name)
    return any(word.startswith(FOLDS) for word in words) and not any(
        word.startswith((*OTHERS, "rep")) for word in words
    )


def _words(name: str) -> list[str]:
    """The words of a name in lower case; ``randomState`` and ``random_state`` are one; ``folder`` is skipped."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("random_state", "randomstate")
    return [word for word in re.split(r"[^a-z]+", snake) if word and not word.startswith("folder")]
