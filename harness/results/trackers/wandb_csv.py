"""The table of runs as W&B's web page exports it: a CSV a suite, scale and kind; a row a trial."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from harness.results.trackers.records import TrackedTrial
from harness.vocabulary import Status

HEAD = ("Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep")
_STATES = {Status.DONE: "finished", Status.CANCELLED: "killed"}


def write_wandb_csv(trials: Iterable[TrackedTrial], folder: Path) -> list[Path]:
    """Write a file for every suite, scale and kind; every cell is quoted, as on W&B's page.

    First the columns of every run, then its configuration, then its final numbers.
    """
    groups: dict[str, list[TrackedTrial]] = {}
    for trial in trials:
        groups.setdefault(trial.group, []).append(trial)
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(given, folder / f"{re.sub(r'[^A-Za-z0-9.+-]+', '-', group)}.csv") for group, given in groups.items()]


def _write(trials: list[TrackedTrial], path: Path) -> Path:
    params = sorted({key for trial in trials for key in trial.params})
    finals = sorted({key for trial in trials for key in trial.finals})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow([*HEAD, *params, *finals])
        for trial in trials:
            has, scores = trial.params, trial.finals
            numbers = [_number(scores[key]) if key in scores else "" for key in finals]
            writer.writerow([*_head(trial), *(has.get(key, "") for key in params), *numbers])
    return path


def _head(trial: TrackedTrial) -> list[str]:
    created = datetime.fromtimestamp(trial.began, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z") if trial.began else ""
    runtime = "" if trial.wall_seconds is None else str(round(trial.wall_seconds))
    state = _STATES.get(Status(trial.status), "failed")
    tags = ", ".join((trial.kind, trial.trial_id[:12]))
    return [trial.name, state, trial.error or "-", "harness", tags, created, runtime, ""]


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(float(value)) if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
