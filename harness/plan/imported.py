"""Imported results in a plan, with the origin of each trial."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.trial.options import Values
from harness.trial.spec import FilledSlots, Part, TrialSpec

FINGERPRINT = "imported"
"""The fingerprint of an imported trial, whose code is unknown."""
ENVIRONMENT = "imported"
"""The environment of imported trials: none is paired with a trial that ran here."""
TASK = "imported"
"""The task of a benchmark with imported results, and of every imported trial."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a trial: a file as it was named, its checksum, and the mapping in words."""

    file: str
    sha256: str
    mapping: str

    @property
    def short(self) -> str:
        """``imported from results.csv (sha256 0123456789ab)``."""
        return f"imported from {self.file} (sha256 {self.sha256[:12]})"

    def __str__(self) -> str:
        return f"{self.short}: {self.mapping}" if self.mapping else self.short


@dataclass(frozen=True, slots=True)
class Imported:
    """The imported trials of a plan, with remarks on their files.

    ``resampled`` is n_test/n_train of an arm's seeds on a benchmark where they split one data set.
    """

    origins: Mapping[str, Origin]
    notes: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    resampled: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def ratio(self, benchmark: str, arms: Iterable[str]) -> float:
        """The largest n_test/n_train of some arms on a benchmark; 0: independent seeds."""
        return max(self.resampled.get((benchmark, arm), 0.0) for arm in arms)


def imported_spec(arm: str, seed: int, scale: str) -> TrialSpec:
    """The content of an imported trial: two arms differ only in their name."""
    return TrialSpec(TASK, Part("nothing"), Values(), Part("none"), Values(arm=arm), FilledSlots(), seed, scale)
