"""The outcome of a trial, for workers and the event log."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from harness.errors import HarnessError
from harness.trial.result import Artifact, MetricSeries, Score
from harness.vocabulary import FINAL, UNFINISHED, Status

_SERIES = tuple(part.name for part in fields(MetricSeries))
_NUMBERS = _SERIES[2:]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One ended attempt at a trial: plain data. None: unknown, and the stored value stays.

    ``started_at`` is ISO text in UTC. Results, series and artifacts are stored only where the status is final.
    ``wall_seconds`` are the trial's, ``cpu_seconds`` its process's, all threads together; ``peak_memory_mb`` is in MiB.
    After ``crashed`` another attempt may succeed; this is not in the event log.
    """

    trial_id: str
    status: Status
    attempts: int | None = None
    started_at: str | None = None
    environment_id: str | None = None
    device: str | None = None
    error: str | None = None
    results: tuple[Score, ...] = ()
    series: tuple[MetricSeries, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_memory_mb: float | None = None
    gpu_joules: float | None = None
    node: str | None = None
    crashed: bool = False

    def score(self, split: str, metric: str) -> float | None:
        return next((score.value for score in self.results if score[:2] == (split, metric)), None)

    def check(self) -> None:
        """Reject an outcome that could not be ingested.

        Raises:
            HarnessError: a status that no outcome has, an unnamed number, or series columns of unequal length.
        """
        allowed = FINAL | UNFINISHED
        if self.status not in allowed:
            raise HarnessError(f"an outcome's status is one of {', '.join(sorted(allowed))}, not {self.status!r}")
        for score in self.results:
            if score.split is None or score.metric is None:
                raise HarnessError(f"a row of results of trial {self.trial_id} needs split and metric: {tuple(score)}")
        for series in self.series:
            lengths = {name: len(getattr(series, name)) for name in _NUMBERS}
            if any(length not in (0, len(series.value)) for length in lengths.values()):
                each = ", ".join(f"{column} {length}" for column, length in lengths.items())
                raise HarnessError(f"series {series.name!r} of trial {self.trial_id} has unequal lengths: {each}")

    def to_json(self) -> dict[str, Any]:
        return {
            **{name: value for name in COLUMNS if (value := getattr(self, name)) is not None},
            "results": [score._asdict() for score in self.results],
            "series": [{name: getattr(series, name) for name in _SERIES} for series in self.series],
            "artifacts": [asdict(artifact) for artifact in self.artifacts],
        }

    @classmethod
    def from_json(cls, parts: Mapping[str, Any]) -> Self:
        """Read an outcome from the parts of its event.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: a malformed event.
        """
        status = Status(parts["status"])
        if status not in FINAL | UNFINISHED:
            raise ValueError(f"{parts['status']!r} is not the status of an outcome")
        columns = {name: parts[name] for name in COLUMNS if parts.get(name) is not None}
        columns.setdefault("attempts", parts.get("attempt"))
        return cls(
            **columns | {"trial_id": parts["trial_id"], "status": status},
            results=tuple(Score(*map(row.get, Score._fields)) for row in parts.get("results") or ()),
            series=tuple(
                MetricSeries(
                    row.get("split"),
                    row["name"],
                    row.get("step") or [],
                    row.get("epoch") or [],
                    row["value"],
                    row.get("elapsed_seconds") or [],
                )
                for row in parts.get("series") or ()
            ),
            artifacts=tuple(
                Artifact(file["name"], file["kind"], Path(file["path"]), file.get("caption"))
                for file in parts.get("artifacts") or ()
            ),
        )


_OTHER_TABLES = ("results", "series", "artifacts", "gpu_joules", "crashed")
COLUMNS = tuple(part.name for part in fields(Outcome) if part.name not in _OTHER_TABLES)
"""Columns of the table ``trials`` that an outcome sets."""
