"""Two runs side by side: which verdicts and which cell means differ, and which trials they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.store import Reader

# A run ends with the last verdicts that were judged while it ran.
_VERDICTS = """WITH judged AS (
  SELECT r.run_id, claim_id, v.protocol, arg_max(v.verdict, judged_at) AS verdict,
    arg_max(v.difference, judged_at) AS difference
  FROM runs r JOIN claims c USING (suite) JOIN verdicts v USING (claim_id)
  WHERE v.scale = r.scale AND judged_at >= r.started_at AND judged_at <= coalesce(r.finished_at, judged_at)
  GROUP BY ALL)
SELECT claim_id, protocol, a.verdict, b.verdict, a.difference, b.difference
FROM (FROM judged WHERE run_id = $1) a FULL JOIN (FROM judged WHERE run_id = $2) b USING (claim_id, protocol)
WHERE (a.verdict, a.difference) IS DISTINCT FROM (b.verdict, b.difference) ORDER BY claim_id, protocol"""
_CELLS = """WITH cells AS (
  SELECT k.run_id, k.benchmark, k.arm, r.split, r.metric, avg(r.value) AS mean, count(*) AS n
  FROM run_trials k JOIN results r USING (trial_id) GROUP BY ALL)
SELECT benchmark, arm, split, metric, a.mean, b.mean, coalesce(a.n, 0), coalesce(b.n, 0)
FROM (FROM cells WHERE run_id = $1) a FULL JOIN (FROM cells WHERE run_id = $2) b USING (benchmark, arm, split, metric)
WHERE a.mean IS DISTINCT FROM b.mean ORDER BY ALL"""


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A claim's verdict under a protocol in each run; None where the run gave none."""

    claim_id: str
    protocol: str
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
    runs = [str(find_run(reader, text)["run_id"]) for text in (first, second)]
    old, new = ({row["trial_id"] for row in reader.run_trials(run)} for run in runs)
    return RunDifference(
        first=runs[0],
        second=runs[1],
        shared_trials=len(old & new),
        only_first=len(old - new),
        only_second=len(new - old),
        verdicts=[VerdictChange(*row) for row in reader.query(_VERDICTS, runs).rows],
        cells=[CellChange(*row) for row in reader.query(_CELLS, runs).rows],
    )
