"""Progress of a run from the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harness.judge.detail import finite
from harness.plan.remaining import Durations
from harness.store import Reader
from harness.vocabulary import FINAL, Status

SHOWN = 12
"""Maximum number of listed trials, failures and added seeds."""
SILENT_SECONDS = 60.0
"""Time without an event after which a run counts as silent."""

_RUNS = """SELECT run_id, suite, scale, started_at, command FROM runs WHERE status = 'running'
ORDER BY started_at DESC LIMIT 1"""
_TRIALS = """SELECT k.benchmark || '/' || k.arm || '/' || t.seed AS label, k.benchmark, k.arm, k.reused, t.status,
  t.error, t.started_at, t.wall_seconds, p.step, p.steps, p.loss, p."at"
FROM (SELECT trial_id, min(benchmark) AS benchmark, min(arm) AS arm, bool_and(reused) AS reused
  FROM run_trials WHERE run_id = ? GROUP BY trial_id) k
JOIN trials t USING (trial_id) LEFT JOIN progress p USING (trial_id)"""
_BOUGHT = """SELECT "at", detail FROM events WHERE run_id = ? AND kind = 'seed-bought' ORDER BY "at" DESC"""


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A trial that runs; its loss is None until it is a finite number."""

    label: str
    step: int | None
    steps: int | None
    loss: float | None


@dataclass(frozen=True, slots=True)
class FailedTrial:
    """A trial without a result, and the first line of its error."""

    label: str
    status: str
    error: str


@dataclass(frozen=True, slots=True)
class AddedSeed:
    """A seed that the sequential design added, with the reason."""

    at: str
    claim: str
    benchmark: str
    arms: tuple[str, ...]
    seed: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The progress of a run. Times are seconds.

    Attributes:
        done: new trials that ended, failed ones among them; ``reused`` were stored before.
        left_seconds: of the planned trials, each configuration at what its trials took; added
            seeds add to them. None until a trial has ended.
        silent: no event for ``SILENT_SECONDS``.
        quiet_seconds: since the last event.
        bought_count: of all added seeds; ``bought`` lists the newest.
    """

    run_id: str
    suite: str
    scale: str
    elapsed_seconds: float
    total: int
    reused: int
    done: int
    failed: int
    per_minute: float | None
    left_seconds: float | None
    silent: bool
    quiet_seconds: float
    running: tuple[RunningTrial, ...]
    failures: tuple[FailedTrial, ...]
    bought: tuple[AddedSeed, ...]
    bought_count: int


def run_progress(reader: Reader, now: datetime | None = None) -> RunProgress | None:
    """The newest run that has not ended, or None; ``now`` is UTC without a zone."""
    runs = reader.query(_RUNS).dicts()
    if not runs:
        return None
    run = runs[0]
    rows = reader.query(_TRIALS, [run["run_id"]]).dicts()
    at = now or datetime.now(UTC).replace(tzinfo=None)
    elapsed = max(0.0, (at - run["started_at"]).total_seconds())
    new = [row for row in rows if not row["reused"]]
    ended = [row for row in new if row["status"] not in (Status.QUEUED, Status.RUNNING)]
    failed = [row for row in ended if row["status"] not in FINAL]
    rate = len(ended) / elapsed if elapsed and ended else None
    bought = reader.query(_BOUGHT, [run["run_id"]]).dicts()
    seen = [row[key] for row in rows for key in ("started_at", "at") if row[key] is not None]
    quiet = (at - max([run["started_at"], *seen])).total_seconds()
    running = [row for row in new if row["status"] == Status.RUNNING][:SHOWN]
    return RunProgress(
        run_id=run["run_id"],
        suite=run["suite"],
        scale=run["scale"],
        elapsed_seconds=round(elapsed, 1),
        total=len(rows),
        reused=len(rows) - len(new),
        done=len(ended),
        failed=len(failed),
        per_minute=None if rate is None else round(60 * rate, 2),
        left_seconds=_left(new, at),
        silent=quiet > SILENT_SECONDS,
        quiet_seconds=round(max(0.0, quiet), 1),
        running=tuple(RunningTrial(row["label"], row["step"], row["steps"], finite(row["loss"])) for row in running),
        failures=tuple(
            FailedTrial(row["label"], row["status"], str(row["error"] or "").split("\n")[0][:300])
            for row in failed[-SHOWN:]
        ),
        bought=tuple(_added_seeds(row["at"], row["detail"]) for row in bought[:SHOWN]),
        bought_count=len(bought),
    )


def _left(rows: Sequence[Mapping[str, Any]], at: datetime) -> float | None:
    """Seconds until the new trials of a run have ended."""
    durations, waiting = Durations(), Counter[tuple[str, str]]()
    begun = [row for row in rows if row["started_at"] is not None and row["status"] != Status.QUEUED]
    if not begun:
        return None
    running = []
    for row in rows:
        cell = (row["benchmark"], row["arm"])
        if row["status"] == Status.QUEUED:
            waiting[cell] += 1
        elif row["status"] == Status.RUNNING and row["started_at"] is not None:
            running.append((cell, max(0.0, (at - row["started_at"]).total_seconds())))
        elif row["wall_seconds"] is not None:
            durations.ended(*cell, row["wall_seconds"])
    elapsed = (at - min(row["started_at"] for row in begun)).total_seconds()
    left = durations.left(waiting, running, elapsed)
    return None if left is None else round(left, 1)


def _added_seeds(at: datetime, detail: Any) -> AddedSeed:
    message = detail if isinstance(detail, Mapping) else {}
    claim, benchmark, reason = (str(message.get(key, "")) for key in ("claim_id", "benchmark", "reason"))
    arms = tuple(map(str, message.get("arms") or ()))
    return AddedSeed(at.isoformat(timespec="seconds"), claim, benchmark, arms, message.get("seed"), reason)
