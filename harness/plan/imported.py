"""Results from elsewhere in a plan: where each of its trials comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.trial.spec import FilledSlots, Part, TrialSpec

FINGERPRINT = "imported"
"""What an imported trial has for the code that computed it."""
ENVIRONMENT = "imported"
"""The environment of imported trials: no pair is made of one and a trial that ran here."""
TASK = "imported"
"""The task of a benchmark whose results come from elsewhere, and of every imported trial."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a trial comes from: a file as it was named, its checksum, and the mapping in words."""

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
    """The imported trials of a plan.

    Attributes:
        origins: by trial_id.
        notes: by (benchmark, arm), what must be said of a cell: that several files made it.
    """

    origins: Mapping[str, Origin]
    notes: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


def imported_spec(arm: str, seed: int, scale: str) -> TrialSpec:
    """What is known of an imported trial's content: under which arm it was filed; two arms differ in that alone."""
    return TrialSpec(TASK, Part("nothing"), {}, Part("none"), {"arm": arm}, FilledSlots(), seed, scale)
