"""Results of a training: final numbers, series, files. Plain data that needs no torch to be read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Score(NamedTuple):
    """A final number."""

    split: str
    metric: str
    value: float | None


@dataclass(slots=True)
class MetricSeries:
    """One metric over the training, as columns."""

    split: str
    name: str
    step: list[int] = field(default_factory=list)
    epoch: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    elapsed_seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a trial leaves: a picture, samples, per-item outputs, weights."""

    name: str
    kind: str
    path: Path
    caption: str = ""


@dataclass(slots=True)
class TrainingResult:
    """The end of a training."""

    status: str
    results: list[Score]
    series: list[MetricSeries]
    artifacts: list[Artifact]
    steps: int
    error: str | None = None
