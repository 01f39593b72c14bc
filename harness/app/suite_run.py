"""Results of runs, for Python, notebooks and ``--json``."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.app.running import Result
from harness.results.verdict_records import verdict_frame, verdict_record
from harness.results.verdict_text import headline
from harness.suite import Suite

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """A suite and the result of its run.

    Attributes:
        database: the store; that of a scratch run is gone.
        report: the ``index.html`` of the pages, where they were requested.
    """

    suite: Suite
    database: Path
    result: Result
    report: Path | None = None

    @property
    def scale(self) -> str:
        """The scale at which it ran."""
        return self.result.plan.scale

    @property
    def run_id(self) -> str:
        """The run's name in the store."""
        return self.result.run_id

    @property
    def complete(self) -> bool:
        """True where every trial of the plan has a result."""
        return self.result.complete

    @property
    def headline(self) -> list[str]:
        """Summary of the verdicts, in sentences."""
        return headline(self.result.verdicts)

    @property
    def verdicts(self) -> pd.DataFrame:
        """One row a claim (and protocol); the columns are those of ``harness.open(…).verdicts``."""
        return verdict_frame(list(map(verdict_record, self.result.verdicts)), self.suite.name)

    @property
    def record(self) -> dict[str, Any]:
        """Everything as JSON data, as ``harness run --json`` prints it: counts, failures, headline, verdicts."""
        result = self.result
        return {
            "suite": self.suite.name,
            "run_id": result.run_id,
            "trials": len(result.plan.trials),
            "reused": result.reused,
            "counts": result.counts,
            "stopped": result.stopped,
            "failures": result.failures,
            "warnings": list(result.warnings),
            "headline": self.headline,
            "verdicts": list(map(verdict_record, result.verdicts)),
        }

    def __repr__(self) -> str:
        result = self.result
        counts = ", ".join(f"{count} {status}" for status, count in result.counts.items())
        verdicts = "; ".join(f"{row.claim_id}: {row.verdict}" for row in result.verdicts)
        label = f"run {self.run_id} of {self.suite.name} at {self.scale}"
        return f"<{label}: {counts} ({result.reused} reused); {verdicts}>"

    def _repr_html_(self) -> str:
        """The notebook's view."""
        shown = ["claim_id", "verdict", "difference", "ci_low", "ci_high", "n", "adjusted_p", "stand_in"]
        table = self.verdicts[shown].to_html(index=False, border=0, float_format="{:.3g}".format, na_rep="")
        sentences = "".join(f"<p>{html.escape(text)}</p>" for text in self.headline)
        failures = "".join(f"<li>{html.escape(f'{label}: {error}')}</li>" for label, error in self.result.failures)
        head = f"<p><b>{html.escape(self.suite.name)}</b> at {self.scale}, run {self.run_id}</p>"
        return f"{head}{table}{sentences}{f'<p>failed:</p><ul>{failures}</ul>' if failures else ''}"
