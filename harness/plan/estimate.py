"""Cost of a plan: medians of earlier trials, else a guess that is marked as one."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.plan.planning import Plan

GUESS = {"smoke": 1.0, "mini": 5.0, "small": 45.0, "paper": 3600.0 * 24}


@dataclass(frozen=True, slots=True)
class StoredCosts:
    """Finished trials of a plan; median core-seconds and highest memory in MiB by (benchmark, arm)."""

    stored: frozenset[str] = frozenset()
    core_seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    memory_mb: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def price(self, benchmark: str, arm: str, scale: str) -> tuple[float, bool]:
        """Core-seconds of a trial: median of its configuration, else benchmark, else (True) a guess."""
        if (benchmark, arm) in self.core_seconds:
            return self.core_seconds[benchmark, arm], False
        of_benchmark = [value for (name, _), value in self.core_seconds.items() if name == benchmark]
        if of_benchmark:
            return statistics.median(of_benchmark), False
        return GUESS[scale], True


@dataclass(frozen=True, slots=True)
class ConfigurationEstimate:
    """A configuration's trials, and the cost of those to run."""

    benchmark: str
    arm: str
    stand_in: tuple[str, ...]
    seeds: int
    stored: int
    core_seconds: float
    memory_mb: float | None
    guessed: bool


@dataclass(frozen=True, slots=True)
class PlanEstimate:
    """Numbers of trials of a plan and their cost."""

    suite: str
    scale: str
    cells: list[ConfigurationEstimate]
    trials: int
    reused: int
    absent: tuple[str, ...]

    @property
    def core_seconds(self) -> float:
        return sum(cell.core_seconds for cell in self.cells)

    @property
    def guessed(self) -> bool:
        return any(cell.guessed for cell in self.cells)


def estimate(plan: Plan, measured: StoredCosts) -> PlanEstimate:
    """The price of a plan."""
    stored = measured.stored
    counted: set[str] = set()
    cells = []
    for benchmark, arm in plan.cells:
        ids = plan.trial_ids(benchmark, arm).values()
        missing = [i for i in ids if i not in stored and i not in counted]
        counted.update(missing)  # a trial of two configurations runs once
        each, guessed = measured.price(benchmark, arm, plan.scale)
        here, memory = sum(i in stored for i in ids), measured.memory_mb.get((benchmark, arm))
        left = (each * len(missing), memory, guessed and bool(missing))
        cells.append(ConfigurationEstimate(benchmark, arm, plan.settings[benchmark].stand_in, len(ids), here, *left))
    reused = sum(trial.trial_id in stored for trial in plan.trials)
    return PlanEstimate(plan.suite, plan.scale, cells, len(plan.trials), reused, plan.absent)
