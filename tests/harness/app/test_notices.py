"""Warnings that a run shows before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness
from harness.execute.dispatch import Watch
from harness.suite.warnings import warnings_of

INLINE: dict[str, Any] = {"executor": "inline", "tuned": False}


class Seen(Watch):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)


def test_the_cost_of_an_added_seed_is_reported_before_it_runs(tiny: Path, database: Path) -> None:
    first = harness.run(tiny, seeds=3, database=database, **INLINE)
    assert first.record["warnings"] == []
    seen = Seen()
    second = harness.run(tiny, seeds=4, database=database, watch=seen, **INLINE)
    (warning,) = seen.warnings
    assert second.record["warnings"] == [warning]
    assert warning.startswith(
        "tiny-better: evaluated at 3 pairs before and at 4 now, so that the sequential test applies"
    )
    needed = int(warning.split("--seeds ")[1].split()[0])
    (row,) = second.result.verdicts
    assert row.ci_low is None or abs(row.ci_low) == float("inf")
    third = harness.run(tiny, seeds=needed, database=database, watch=seen, **INLINE)
    assert len(seen.warnings) == 1, "a sequential claim costs nothing more"
    (row,) = third.result.verdicts
    assert row.ci_low is not None
    assert abs(row.ci_low) < float("inf")


def test_a_run_shows_the_warnings_of_validate(tiny: Path, database: Path) -> None:
    text = tiny.read_text().replace("arms:\n", "arms:\n  idle: {role: method, optimizer: {name: sgd, lr: 0.1}}\n", 1)
    tiny.write_text(text)
    seen = Seen()
    harness.run(tiny, seeds=2, arms=["base", "better"], database=database, watch=seen, **INLINE)
    assert any("known/idle" in warning for warning in seen.warnings)
    assert seen.warnings == list(map(str, warnings_of(harness.load_suite(tiny))))
