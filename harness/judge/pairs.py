"""The pairs that two arms make of their common seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness import stats
from harness.judge.design import DesignBlock, Pairing
from harness.judge.evidence import Evidence, StoredTrial, failures
from harness.vocabulary import Status


@dataclass(frozen=True, slots=True)
class Pairs:
    """What two arms make of their common seeds.

    ``differences`` by seed are positive in the claimed direction; ±inf where an arm diverged and the claim counts
    that as a lost pair. ``planned`` trials were asked for; ``missing`` seeds lack a result on a side, ``failed`` and
    ``diverged`` count trials, ``mismatched`` seeds ran in two environment classes.
    """

    differences: Mapping[int, float]
    method: Mapping[int, float]
    baseline: Mapping[int, float]
    planned: int
    missing: int
    failed: int
    diverged: int
    mismatched: int

    @property
    def values(self) -> list[float]:
        """Differences in the order of seeds."""
        return [self.differences[seed] for seed in sorted(self.differences)]


def pair(pairing: Pairing, block: DesignBlock, upper: str, lower: str, evidence: Evidence) -> Pairs:
    """Pairs of two arms; with own baselines the difference is one of gains."""
    own = pairing.own_baselines if len(pairing.own_baselines) == 2 else ()
    cells = [block.cells.get(arm, {}) for arm in (upper, lower, *own)]
    seeds = sorted({seed for cell in cells[:2] for seed in cell})
    differences: dict[int, float] = {}
    method: dict[int, float] = {}
    baseline: dict[int, float] = {}
    missing = mismatched = 0
    for seed in seeds:
        trials = [evidence.get(cell[seed]) if seed in cell else None for cell in cells]
        scores = [None if trial is None else _score(pairing, block, trial) for trial in trials]
        known = [score for score in scores if score is not None]
        complete = len(known) == len(scores)
        if complete and len({trial.environment for trial in trials if trial is not None}) > 1:
            mismatched += 1
        elif complete and (difference := _difference(pairing, block.direction, known)) is not None:
            differences[seed] = difference
            if math.isfinite(known[0]) and math.isfinite(known[1]):
                method[seed], baseline[seed] = known[0], known[1]
        else:
            missing += 1
    every = [evidence.get(trial) for cell in cells for trial in cell.values()]
    failed, diverged = failures(every)
    return Pairs(differences, method, baseline, len(every), missing, failed, diverged, mismatched)


def _score(pairing: Pairing, block: DesignBlock, trial: StoredTrial) -> float | None:
    """A trial's number: the worst there is where it diverged and the claim counts that as a lost pair."""
    if trial.status == Status.DIVERGED:
        return (-math.inf if block.better == "higher" else math.inf) if pairing.on_divergence == "worst" else None
    return trial.value(block.metric, block.split) if trial.done else None


def _difference(pairing: Pairing, direction: int, scores: list[float]) -> float | None:
    """Signed difference of two scores, or of two gains; None where an own baseline diverged."""
    if any(math.isinf(score) for score in scores[2:]):
        return None
    upper, lower, *own = scores
    if math.isinf(upper) or math.isinf(lower):
        if upper == lower:  # both diverged: neither wins
            return 0.0
        return direction * (upper - lower)
    if pairing.log_ratio:
        change = float(stats.log_ratio([upper], [lower])[0])
        change -= float(stats.log_ratio([own[0]], [own[1]])[0]) if own else 0.0
    else:
        change = upper - lower - ((own[0] - own[1]) if own else 0.0)
    return None if math.isnan(change) else direction * change


def mean_of(values: Mapping[int, float]) -> float | None:
    """Mean over seeds; None without any."""
    return sum(values.values()) / len(values) if values else None


def sample_sd(values: list[float]) -> float | None:
    """Standard deviation (n − 1); None below two values."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
