"""Writes a sweep as an Optuna storage, for optuna-dashboard and Optuna's own plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.suite import Suite

if TYPE_CHECKING:
    from harness.sweep.engine import SweepResult
    from harness.sweep.tuning import SweepRequest


def write_study(suite: Suite, request: SweepRequest, result: SweepResult, path: Path) -> None:
    """One study an arm, in a SQLite file that is made anew: ``sweep_points`` stays the truth."""
    import optuna

    from harness.sweep.tuning import make_tuning

    tuning = make_tuning(suite, request)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    for arm, points in result.points.items():
        direction = "maximize" if tuning.better == "higher" else "minimize"
        name = f"{suite.name}/{tuning.benchmark}/{arm}"
        study = optuna.create_study(storage=f"sqlite:///{path}", study_name=name, direction=direction)
        study.add_trials(tuning.drawing(arm).frozen(points))
