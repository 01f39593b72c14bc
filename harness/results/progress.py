"""What a run is doing at this moment, from the store: progress, time left, what runs, failures, bought seeds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from harness.store import Reader
from harness.vocabulary import FINAL

SHOWN = 12
"""Running trials, failures and bought seeds that are listed, the newest first."""
SILENT_SECONDS = 60.0
"""After so long without an event a run is said to be silent: its process may be gone."""

_RUNS = """SELECT run_id, suite, scale, started_at, command FROM runs WHERE status = 'running'
ORDER BY started_at DESC LIMIT 1"""
_TRIALS = """SELECT k.benchmark, k.arm, k.reused, t.seed, t.status, t.error, t.started_at,
  p.step, p.steps, p.loss, p."at"
FROM (SELECT trial_id, min(benchmark) AS benchmark, min(arm) AS arm, bool_and(reused) AS reused
  FROM run_trials WHERE run_id = ? GROUP BY trial_id) k
JOIN trials t USING (trial_id) LEFT JOIN progress p USING (trial_id)"""
_BOUGHT = """SELECT "at", detail FROM events WHERE run_id = ? AND kind = 'seed-bought' ORDER BY "at" DESC"""


def live(reader: Reader, now: datetime | None = None) -> dict[str, Any] | None:
    """The newest run that has not ended, or None.

    ``left_seconds`` is what the rate of this run so far makes of the trials that it knows; bought seeds add to them.
    Times are seconds, shares 0–1.
    """
    runs = reader.query(_RUNS).dicts()
    if not runs:
        return None
    run = runs[0]
    rows = reader.query(_TRIALS, [run["run_id"]]).dicts()
    at = now or datetime.now(UTC).replace(tzinfo=None)
    elapsed = max(0.0, (at - run["started_at"]).total_seconds())
    new = [row for row in rows if not row["reused"]]
    ended = [row for row in new if row["status"] not in ("queued", "running")]
    failed = [row for row in ended if row["status"] not in FINAL]
    rate = len(ended) / elapsed if elapsed and ended else None
    bought = reader.query(_BOUGHT, [run["run_id"]]).dicts()
    seen = [row[key] for row in rows for key in ("started_at", "at") if row[key] is not None]
    quiet = (at - max([run["started_at"], *seen])).total_seconds()
    return {
        "run_id": run["run_id"], "suite": run["suite"], "scale": run["scale"], "elapsed_seconds": round(elapsed, 1),
        "total": len(rows), "reused": len(rows) - len(new), "done": len(ended), "failed": len(failed),
        "per_minute": None if rate is None else round(60 * rate, 2),
        "left_seconds": None if rate is None else round((len(new) - len(ended)) / rate, 1),
        "silent": quiet > SILENT_SECONDS, "quiet_seconds": round(max(0.0, quiet), 1),
        "running": [_running(row) for row in new if row["status"] == "running"][:SHOWN],
        "failures": [_failure(row) for row in failed[-SHOWN:]],
        "bought": [_bought(row) for row in bought[:SHOWN]], "bought_count": len(bought),
    }  # fmt: skip


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['benchmark']}/{row['arm']}/{row['seed']}"


def _running(row: Mapping[str, Any]) -> dict[str, Any]:
    loss = row["loss"]
    known = loss is not None and loss == loss and abs(loss) != float("inf")
    return {"label": _label(row), "step": row["step"], "steps": row["steps"], "loss": loss if known else None}


def _failure(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"label": _label(row), "status": row["status"], "error": str(row["error"] or "").split("\n")[0][:300]}


def _bought(row: Mapping[str, Any]) -> dict[str, Any]:
    detail = row["detail"] if isinstance(row["detail"], Mapping) else {}
    return {
        "at": row["at"].isoformat(timespec="seconds"), "claim": str(detail.get("claim_id", "")),
        "benchmark": str(detail.get("benchmark", "")), "arms": [str(arm) for arm in detail.get("arms") or ()],
        "seed": detail.get("seed"), "reason": str(detail.get("reason", "")),
    }  # fmt: skip
