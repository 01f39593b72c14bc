"""The pairs that two arms make of their common seeds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness import stats
from harness.judge.design import DesignBlock, Pairing
from harness.judge.evidence import Evidence, StoredTrial
from harness.stats.records import moments
from harness.vocabulary import UNFINISHED, Status


@dataclass(frozen=True, slots=True)
class ArmFailures:
    """Trials of an arm that ended without a score."""

    arm: str
    planned: int
    failed: int
    unscored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of two arms over their common seeds.

    ``differences`` are positive in the claimed direction, ±inf where a diverged arm lost its pair. ``missing`` seeds
    lack a result or diverged on both sides; ``failed`` and ``diverged`` count trials; ``mismatched`` seeds ran in two
    environment classes. ``lost`` holds pairs with a failed trial as ±inf. ``noise``: what their sd does not show.
    """

    differences: Mapping[int, float]
    method: Mapping[int, float]
    baseline: Mapping[int, float]
    planned: int
    missing: int
    failed: int
    diverged: int
    mismatched: int
    lost: Mapping[int, float] = field(default_factory=dict)
    arms: tuple[ArmFailures, ...] = ()
    noise: stats.Noise = stats.INDEPENDENT

    @property
    def values(self) -> list[float]:
        """Differences in the order of seeds."""
        return [self.differences[seed] for seed in sorted(self.differences)]

    def against(self, estimate: float) -> dict[int, float]:
        """The differences if every failed trial of the favoured arm had lost."""
        lost = {seed: value for seed, value in self.lost.items() if value * estimate < 0}
        return {**self.differences, **lost}


def pair(pairing: Pairing, block: DesignBlock, upper: str, lower: str, evidence: Evidence) -> Pairs:
    """Pairs of two arms; with own baselines the difference is one of gains."""
    pairs = _by_seed(pairing, block, upper, lower, evidence)
    if (size := pairing.seeds_of_search) is None:
        return pairs
    parts = (pairs.differences, pairs.method, pairs.baseline, pairs.lost)
    differences, method, baseline, lost = (_by_search(values, size) for values in parts)
    # means of k splits correlate more: ρ' = kρ / (1 + (k - 1)ρ), so ρ'/(1 - ρ'), which the ratio estimates, is k times
    noise = replace(pairs.noise, resampled=size * pairs.noise.resampled)
    return replace(pairs, differences=differences, method=method, baseline=baseline, lost=lost, noise=noise)


def _by_search(values: Mapping[int, float], size: int) -> dict[int, float]:
    """The mean over the seeds of each search; none where both arms lost a seed."""
    groups: dict[int, list[float]] = {}
    for seed, value in sorted(values.items()):
        groups.setdefault(seed // size, []).append(value)
    means = {number: sum(group) / len(group) for number, group in groups.items()}
    return {number: mean for number, mean in means.items() if not math.isnan(mean)}


def _by_seed(pairing: Pairing, block: DesignBlock, upper: str, lower: str, evidence: Evidence) -> Pairs:
    own = pairing.own_baselines if len(pairing.own_baselines) == 2 else ()
    arms = (upper, lower, *own)
    cells = [block.cells.get(arm, {}) for arm in arms]
    differences: dict[int, float] = {}
    method: dict[int, float] = {}
    baseline: dict[int, float] = {}
    lost: dict[int, float] = {}
    missing = mismatched = 0
    for seed in sorted({seed for cell in cells[:2] for seed in cell}):
        trials = [evidence.get(cell[seed]) if seed in cell else None for cell in cells]
        scores = [None if trial is None else _score(pairing, block, trial) for trial in trials]
        existing = [score for score in scores if score is not None]
        complete = len(existing) == len(scores)
        if complete and len({trial.environment for trial in trials if trial is not None}) > 1:
            mismatched += 1
        elif complete and (difference := _difference(pairing, block.direction, existing)) is not None:
            differences[seed] = difference
            if math.isfinite(existing[0]) and math.isfinite(existing[1]):
                method[seed], baseline[seed] = existing[0], existing[1]
        else:
            missing += 1
            failed = [trial is not None and _failed(block, trial) for trial in trials[:2]]
            if failed[0] != failed[1]:
                worst = block.direction * (-math.inf if block.better == "higher" else math.inf)
                lost[seed] = worst if failed[0] else -worst
    counted = tuple(_failures(pairing, block, arm, evidence) for arm in dict.fromkeys(arms))
    every = [evidence.get(trial) for cell in cells for trial in cell.values()]
    failures = sum(each.failed for each in counted)
    return Pairs(
        differences,
        method,
        baseline,
        len(every),
        missing,
        failures,
        sum(_lost(pairing, block, item) for item in every),
        mismatched,
        lost,
        counted,
        stats.Noise(_least_sd(pairing, differences, method, baseline), block.resampled),
    )


def _least_sd(
    pairing: Pairing, differences: Mapping[int, float], method: Mapping[int, float], baseline: Mapping[int, float]
) -> float:
    """sd that rounding alone gives a pair; 0 between two constant arms, whose difference is exact."""
    if constant(method) and constant(baseline):
        return 0.0
    scores = [*method.values(), *baseline.values()]
    if pairing.log_ratio:
        scores = [math.log(score) for score in scores if score > 0]
    finite = [value for value in differences.values() if math.isfinite(value)]
    return stats.least_sd_of(scores, finite, 4 if len(pairing.own_baselines) == 2 else 2)


def constant(scores: Mapping[int, float]) -> bool:
    """True if three or more seeds have one score."""
    return len(scores) >= 3 and len(set(scores.values())) == 1


def _failed(block: DesignBlock, trial: StoredTrial) -> bool:
    return trial.status in UNFINISHED or trial.unscored(block.metric, block.split) is not None


def _lost(pairing: Pairing, block: DesignBlock, trial: StoredTrial | None) -> bool:
    if trial is None:
        return False
    worst = pairing.on_divergence == "worst" and trial.unscored(block.metric, block.split) is not None
    return worst or trial.status == Status.DIVERGED


def _failures(pairing: Pairing, block: DesignBlock, arm: str, evidence: Evidence) -> ArmFailures:
    cell = block.cells.get(arm, {})
    stored = {seed: evidence[trial] for seed, trial in sorted(cell.items()) if trial in evidence}
    text = {seed: trial.unscored(block.metric, block.split) for seed, trial in stored.items()}
    failed = sum(_failed(block, trial) and not _lost(pairing, block, trial) for trial in stored.values())
    unscored = tuple(f"{arm} {what} at seed {seed}" for seed, what in text.items() if what is not None)
    return ArmFailures(arm, len(cell), failed, unscored)


def _score(pairing: Pairing, block: DesignBlock, trial: StoredTrial) -> float | None:
    """A trial's number; the worst possible where it diverged and loses its pair."""
    if _lost(pairing, block, trial):
        return (-math.inf if block.better == "higher" else math.inf) if pairing.on_divergence == "worst" else None
    return trial.value(block.metric, block.split) if trial.done else None


def _difference(pairing: Pairing, direction: int, scores: list[float]) -> float | None:
    """Signed difference of two scores or gains; None where both diverged."""
    upper, lower, *own = scores
    if any(map(math.isinf, own)) or (math.isinf(upper) and math.isinf(lower)):
        return None
    if math.isinf(upper) or math.isinf(lower):
        return direction * (upper - lower)
    if pairing.log_ratio:
        change = float(stats.log_ratio([upper], [lower])[0])
        change -= float(stats.log_ratio([own[0]], [own[1]])[0]) if own else 0.0
    else:
        change = upper - lower - ((own[0] - own[1]) if own else 0.0)
    return None if math.isnan(change) else direction * change


def one_score(block: DesignBlock, arm: str, scores: Mapping[int, float]) -> str:
    """The reason that constant scores forbid a verdict."""
    value = next(iter(scores.values()))
    return (
        f"{arm} gives {block.metric} {value:g} at each of {len(scores)} seeds of {block.benchmark}: does it use its "
        "seed? Declare the arm or the metric 'deterministic' if it has none"
    )


def seed_differences(upper: Mapping[int, float], lower: Mapping[int, float]) -> dict[int, float]:
    """Plain differences of the seeds that both sides have, in order."""
    return {seed: upper[seed] - lower[seed] for seed in sorted(upper.keys() & lower.keys())}


def mean_of(values: Mapping[int, float]) -> float | None:
    """Mean over seeds; None without any."""
    return sum(values.values()) / len(values) if values else None


def sample_sd(values: list[float]) -> float | None:
    """Standard deviation (n − 1); None below two values."""
    sd = moments(values).sd
    return None if math.isnan(sd) else sd
