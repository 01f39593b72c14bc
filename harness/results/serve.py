"""Serves the report on this machine; shows the progress of a run and updates the pages."""

import functools
import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

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
_TRIALS = """SELECT k.benchmark || '/' || k.arm || '/' || t.seed, k.benchmark, k.arm, k.reused, t.status, t.error,
  t.started_at, t.wall_seconds, p.step, p.steps, p.loss, p."at"
FROM (SELECT trial_id, min(benchmark) AS benchmark, min(arm) AS arm, bool_and(reused) AS reused
  FROM run_trials WHERE run_id = ? GROUP BY trial_id) k
JOIN trials t USING (trial_id) LEFT JOIN progress p USING (trial_id)"""
_BOUGHT = """SELECT "at", detail FROM events WHERE run_id = ? AND kind = 'seed-bought' ORDER BY "at" DESC"""


class _Row(NamedTuple):
    """A trial of the run, its latest progress beside it."""

    label: str
    benchmark: str
    arm: str
    reused: bool
    status: str
    error: str | None
    started_at: datetime | None
    wall_seconds: float | None
    step: int | None
    steps: int | None
    loss: float | None
    at: datetime | None


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
    rows = [_Row(*row) for row in reader.query(_TRIALS, [run["run_id"]]).rows]
    at = now or datetime.now(UTC).replace(tzinfo=None)
    elapsed = max(0.0, (at - run["started_at"]).total_seconds())
    new = [row for row in rows if not row.reused]
    ended = [row for row in new if row.status not in (Status.QUEUED, Status.RUNNING)]
    failed = [row for row in ended if row.status not in FINAL]
    rate = len(ended) / elapsed if elapsed and ended else None
    bought = reader.query(_BOUGHT, [run["run_id"]]).dicts()
    seen = [moment for row in rows for moment in (row.started_at, row.at) if moment is not None]
    quiet = (at - max([run["started_at"], *seen])).total_seconds()
    running = [row for row in new if row.status == Status.RUNNING][:SHOWN]
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
        running=tuple(RunningTrial(row.label, row.step, row.steps, finite(row.loss)) for row in running),
        failures=tuple(
            FailedTrial(row.label, row.status, str(row.error or "").split("\n")[0][:300]) for row in failed[-SHOWN:]
        ),
        bought=tuple(_added_seeds(row["at"], row["detail"]) for row in bought[:SHOWN]),
        bought_count=len(bought),
    )


def _left(rows: Sequence[_Row], at: datetime) -> float | None:
    """Seconds until the new trials of a run have ended."""
    durations, waiting = Durations(), Counter[tuple[str, str]]()
    begun = [row.started_at for row in rows if row.started_at is not None and row.status != Status.QUEUED]
    if not begun:
        return None
    running = []
    for row in rows:
        cell = (row.benchmark, row.arm)
        if row.status == Status.QUEUED:
            waiting[cell] += 1
        elif row.status == Status.RUNNING and row.started_at is not None:
            running.append((cell, max(0.0, (at - row.started_at).total_seconds())))
        elif row.wall_seconds is not None:
            durations.ended(*cell, row.wall_seconds)
    elapsed = (at - min(begun)).total_seconds()
    left = durations.left(waiting, running, elapsed)
    return None if left is None else round(left, 1)


def _added_seeds(at: datetime, detail: Any) -> AddedSeed:
    message = detail if isinstance(detail, Mapping) else {}
    claim, benchmark, reason = (str(message.get(key, "")) for key in ("claim_id", "benchmark", "reason"))
    arms = tuple(map(str, message.get("arms") or ()))
    return AddedSeed(at.isoformat(timespec="seconds"), claim, benchmark, arms, message.get("seed"), reason)


HOST = "127.0.0.1"
LIVE_SECONDS = 1.0
"""However many windows ask, the store is looked at once in this time."""
STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class LiveState:
    """The state that the pages ask for: generation of the report, progress of the run, trouble with either."""

    generation: int
    run: RunProgress | None
    trouble: str


@functools.cache
def live_panel() -> str:
    """The markup, style and script that every served page ends with."""
    style, script = ((STATIC / name).read_text(encoding="utf-8") for name in ("live.css", "live.js"))
    section = '<section id="live" aria-label="Run in progress" hidden></section>'
    return f"\n<style>\n{style}</style>\n{section}\n<script>\n{script}</script>\n"


class ServedReport:
    """A written report and its generation: how often it was written.

    Args:
        database: the store's file.
        write: writes the pages and returns their ``index.html``.
        progress: of the run that goes on; None where nothing runs.
    """

    def __init__(
        self, database: Path, write: Callable[[], Path], progress: Callable[[], RunProgress | None] = lambda: None
    ) -> None:
        self._database, self._write, self._progress = database, write, progress
        self._lock = threading.Lock()
        self._run: RunProgress | None = None
        self._looked_at = float("-inf")
        self._unreadable = ""
        self.trouble = ""
        self.generation = 0
        self._seen = self._state()
        self.folder = self._write().parent

    def _state(self) -> tuple[float, float]:
        """Return the times of the store's file and its newest log segment."""
        journal = self._database.with_name(self._database.name + ".journal")
        segments = [file.stat().st_mtime for file in journal.iterdir()] if journal.is_dir() else []
        return (self._database.stat().st_mtime if self._database.exists() else 0.0, max(segments, default=0.0))

    def refresh(self) -> bool:
        """Rewrite the pages if the store has changed; return True if it had."""
        try:
            state = self._state()
            if state == self._seen:
                return False
            self._seen = state  # taken before: what comes in while writing is for the next time
            self._write()
        except Exception as error:  # the run goes on, and so must the pages
            self.trouble = f"the pages could not be updated: {error}"
            return False
        self.trouble = ""
        self.generation += 1
        return True

    def live(self) -> LiveState:
        """Return the current state; looks at the store at most once in ``LIVE_SECONDS``."""
        with self._lock:
            if time.monotonic() - self._looked_at >= LIVE_SECONDS:
                try:
                    self._run, self._unreadable = self._progress(), ""
                except Exception as error:  # a store that is held or being made; the next look may succeed
                    self._run, self._unreadable = None, str(error)
                self._looked_at = time.monotonic()
            return LiveState(self.generation, self._run, self.trouble or self._unreadable)


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files and ``/live``; adds the live panel to every page."""

    def __init__(self, *arguments: Any, report: ServedReport, **more: Any) -> None:
        self.report = report
        super().__init__(*arguments, directory=str(report.folder), **more)

    timeout = 30.0
    """Seconds without a byte, after which a client is let go."""

    def do_GET(self) -> None:
        if self._refused():
            return
        if self.path.split("?")[0] == "/live":
            self._send(json.dumps(asdict(self.report.live()), default=str).encode(), "application/json")
            return
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            path = path / "index.html"
        if path.suffix == ".html" and path.is_file():
            self._send(path.read_bytes() + live_panel().encode(), "text/html; charset=utf-8")
            return
        super().do_GET()

    def do_HEAD(self) -> None:
        if not self._refused():
            super().do_HEAD()

    def _refused(self) -> bool:
        """Reject other host names, lists of folders and files outside the pages."""
        # a foreign host name that resolves to this machine must not read the pages
        if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
            self.send_error(403)
            return True
        path = Path(self.translate_path(self.path))
        page = path / "index.html" if path.is_dir() else path
        inside = page.resolve().is_relative_to(self.report.folder.resolve())
        if not inside or (path.is_dir() and not page.is_file()):
            self.send_error(404)
            return True
        return False

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def make_server(report: ServedReport, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server on the loopback address; port 0 takes a free one."""
    return http.server.ThreadingHTTPServer((HOST, port), functools.partial(_Handler, report=report))


def serve(report: ServedReport, port: int, every: float, tell: Callable[[str], None]) -> None:
    """Serve until interrupted, looking at the store every few seconds."""
    server, stop = make_server(report, port), threading.Event()
    tell(f"http://{HOST}:{server.server_address[1]}/ (Ctrl-C ends it)")

    def keep_new() -> None:
        while not stop.wait(every):
            report.refresh()

    threading.Thread(target=keep_new, daemon=True).start()
    try:
        server.serve_forever()
    finally:
        stop.set()
        server.server_close()
