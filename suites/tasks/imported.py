"""Imported results: a benchmark that declares its metrics for ``harness import``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.options import option
from harness.trial.result import TrainingResult

if TYPE_CHECKING:
    from harness.trial.runtime import Runtime
    from harness.trial.spec import TrialSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedOptions:
    """Options of the task ``imported``."""

    values: Mapping[str, Any] = option({}, "values by which the arms differ, for readers only")


def run(spec: TrialSpec, runtime: Runtime) -> TrainingResult:
    """Refuse to run (HarnessError); plans contain no trial of this task."""
    raise HarnessError("these results are imported: use 'harness import FILE --suite SUITE'")


METADATA = TaskMetadata(
    name="imported",
    target="run",
    summary="results imported by 'harness import'; nothing runs",
    slots=(),
    metrics=(),
    reads=("nothing",),
    options=ImportedOptions,
    elsewhere=True,
)
