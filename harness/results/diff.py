"""Two runs side by side: which verdicts and which cell means differ, and which trials they share."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import HarnessError
from harness.store import Reader


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A claim's verdict in each run; None where the run gave none."""

    claim_id: str
    first: str | None
    second: str | None
    first_difference: float | None
    second_difference: float | None


@dataclass(frozen=True, slots=True)
class CellChange:
    """A cell's mean of a final metric in each run, over ``n`` trials."""

    benchmark: str
    arm: str
    split: str
    metric: str
    first: float | None
    second: float | None
    first_n: int
    second_n: int


@dataclass(frozen=True, slots=True)
class RunDifference:
    """What differs between two runs."""

    first: str
    second: str
    shared_trials: int
    only_first: int
    only_second: int
    verdicts: list[VerdictChange]
    cells: list[CellChange]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def find_run(reader: Reader, text: str) -> dict[str, Any]:
    """A run by its id or the unique beginning of it; ``latest`` is the newest.

    Raises:
        HarnessError: none or several.
    """
    runs = reader.runs()
    if text == "latest" and runs:
        return max(runs, key=lambda run: str(run["started_at"]))
    fitting = [run for run in runs if str(run["run_id"]).startswith(text)]
    if len(fitting) != 1:
        what = "no run begins" if not fitting else f"{len(fitting)} runs begin"
        raise HarnessError(f"{what} with '{text}'; 'harness list runs' lists them")
    return fitting[0]


def difference(reader: Reader, first: str, second: str) -> RunDifference:
    """Compare two runs; numbers that are equal to the last bit are left out."""
    runs = find_run(reader, first), find_run(reader, second)
    trials = [{row["trial_id"] for row in reader.run_trials(run["run_id"])} for run in runs]
    old_verdicts, new_verdicts = (_verdicts(reader, run) for run in runs)
    verdicts = []
    for claim in sorted({*old_verdicts, *new_verdicts}):
        old, new = old_verdicts.get(claim, (None, None)), new_verdicts.get(claim, (None, None))
        if old != new:
            verdicts.append(VerdictChange(claim, old[0], new[0], old[1], new[1]))
    old_cells, new_cells = (_cells(reader, run["run_id"]) for run in runs)
    cells = []
    for cell in sorted({*old_cells, *new_cells}):
        (x, n), (y, m) = old_cells.get(cell, (None, 0)), new_cells.get(cell, (None, 0))
        if x != y and not (x is not None and y is not None and math.isnan(x) and math.isnan(y)):
            cells.append(CellChange(*cell, x, y, n, m))
    return RunDifference(
        first=runs[0]["run_id"],
        second=runs[1]["run_id"],
        shared_trials=len(trials[0] & trials[1]),
        only_first=len(trials[0] - trials[1]),
        only_second=len(trials[1] - trials[0]),
        verdicts=verdicts,
        cells=cells,
    )


def _verdicts(reader: Reader, run: dict[str, Any]) -> dict[str, tuple[str, float | None]]:
    """The verdicts that a run ended with: the last ones judged while it ran."""
    rows = reader.query(
        "SELECT claim_id, arg_max(verdict, judged_at), arg_max(difference, judged_at) FROM verdicts "
        "WHERE scale = ? AND claim_id IN (SELECT claim_id FROM claims WHERE suite = ?) "
        "AND judged_at >= ? AND judged_at <= coalesce(?, judged_at) GROUP BY claim_id",
        (run["scale"], run["suite"], run["started_at"], run["finished_at"]),
    ).rows
    return {claim: (verdict, value) for claim, verdict, value in rows}


def _cells(reader: Reader, run_id: str) -> dict[tuple[str, str, str, str], tuple[float, int]]:
    rows = reader.query(
        "SELECT k.benchmark, k.arm, r.split, r.metric, avg(r.value), count(*) FROM run_trials k "
        "JOIN results r USING (trial_id) WHERE k.run_id = ? GROUP BY ALL",
        (run_id,),
    ).rows
    return {(b, a, s, m): (value, count) for b, a, s, m, value, count in rows}
