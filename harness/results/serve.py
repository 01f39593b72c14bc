"""Serves the report on this machine and updates it during runs."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.results.progress import RunProgress

HOST = "127.0.0.1"
LIVE_SECONDS = 1.0
"""However many windows ask, the store is looked at once in this time."""
STATIC = Path(__file__).parent / "static"


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

    def live(self) -> dict[str, Any]:
        """Return the generation and the run's progress as JSON data."""
        with self._lock:
            if time.monotonic() - self._looked_at >= LIVE_SECONDS:
                try:
                    self._run, self._unreadable = self._progress(), ""
                except Exception as error:  # a store that is held or being made; the next look may succeed
                    self._run, self._unreadable = None, str(error)
                self._looked_at = time.monotonic()
            run = None if self._run is None else asdict(self._run)
            return {"generation": self.generation, "run": run, "trouble": self.trouble or self._unreadable}


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
            self._send(json.dumps(self.report.live(), default=str).encode(), "application/json")
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
