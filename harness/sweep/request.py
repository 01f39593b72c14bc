"""What ``harness sweep`` is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from harness.execute.session import SessionRequest
from harness.plan.tuning import TuningRequest


@dataclass(frozen=True, slots=True)
class SweepRequest(SessionRequest):
    """The options of ``harness sweep``; None takes the suite's own."""

    benchmark: str
    budget: int
    arms: tuple[str, ...] = ()
    scale: str = "mini"
    sampler: str | None = None
    pruner: str | None = None
    seeds: int | None = None
    fresh: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tuning(self) -> TuningRequest:
        """What is tuned, without where and how it runs."""
        return TuningRequest(**{each.name: getattr(self, each.name) for each in fields(TuningRequest)})
