"""Results from elsewhere: a benchmark that only declares its metrics, for ``harness import``; nothing runs here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.registry.cards import TaskCard
from harness.trial.options import option
from harness.trial.result import TrainingResult

if TYPE_CHECKING:
    from harness.trial.runtime import Runtime
    from harness.trial.spec import TrialSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedOptions:
    """Options of the task ``imported``."""

    values: Mapping[str, Any] = option({}, "what the arms differ in, for readers: nothing here uses it")


def run(spec: TrialSpec, runtime: Runtime) -> TrainingResult:
    """Nothing can be run.

    Raises:
        HarnessError: always; plans have no such trial.
    """
    raise HarnessError("these results come from elsewhere: 'harness import FILE --suite SUITE' takes them in")


CARD = TaskCard(
    name="imported",
    target="run",
    summary="results from elsewhere, taken in by 'harness import': nothing runs here",
    slots=(),
    metrics=(),
    reads=("nothing",),
    options=ImportedOptions,
    elsewhere=True,
)
