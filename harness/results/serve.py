"""Serves the report on this machine only, follows a run and keeps the pages new while it goes on."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.results.live_script import SCRIPT

HOST = "127.0.0.1"
LIVE_SECONDS = 1.0
"""However many windows ask, the store is looked at once in this time."""


class Site:
    """A written site and its generation: how often it was written.

    Args:
        database: the store's file.
        write: writes the site and returns its ``index.html``.
        live: what a run is doing now, as JSON data; None where nothing runs.
    """

    def __init__(
        self, database: Path, write: Callable[[], Path], live: Callable[[], dict[str, Any] | None] = lambda: None
    ) -> None:
        self._database, self._write, self._live = database, write, live
        self._lock = threading.Lock()
        self._told: dict[str, Any] | None = None
        self._told_at = float("-inf")
        self._unreadable = ""
        self.trouble = ""
        self.generation = 0
        self._seen = self._state()
        self.folder = self._write().parent

    def _state(self) -> tuple[float, float]:
        """When the store last changed: its file, its newest segment."""
        journal = self._database.with_name(self._database.name + ".journal")
        segments = [file.stat().st_mtime for file in journal.iterdir()] if journal.is_dir() else []
        return (self._database.stat().st_mtime if self._database.exists() else 0.0, max(segments, default=0.0))

    def refresh(self) -> bool:
        """Write again where the store has changed; True where it had. What fails is told on the pages, once a look."""
        try:
            state = self._state()
            if state == self._seen:
                return False
            self._seen = state  # taken before: what comes in while writing is for the next time
            self._write()
        except Exception as error:  # the run goes on, and so must the pages
            self.trouble = f"the pages could not be written again: {error}"
            return False
        self.trouble = ""
        self.generation += 1
        return True

    def live(self) -> dict[str, Any]:
        """The generation and what a run is doing."""
        with self._lock:
            if time.monotonic() - self._told_at >= LIVE_SECONDS:
                try:
                    self._told, self._unreadable = self._live(), ""
                except Exception as error:  # a store that is held or being made; the next look may succeed
                    self._told, self._unreadable = None, str(error)
                self._told_at = time.monotonic()
            trouble = self.trouble or self._unreadable
            return {"generation": self.generation, "run": self._told, "trouble": trouble}


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Static files, ``/live``, and in every page the script that shows it and loads a page that was written again."""

    def __init__(self, *arguments: Any, site: Site, **more: Any) -> None:
        self.site = site
        super().__init__(*arguments, directory=str(site.folder), **more)

    def do_GET(self) -> None:
        # A name that somebody else lets point here must not read the pages.
        if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
            self.send_error(403)
            return
        if self.path.split("?")[0] == "/live":
            self._send(json.dumps(self.site.live(), default=str).encode(), "application/json")
            return
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            path = path / "index.html"
        if path.suffix == ".html" and path.is_file():
            self._send(path.read_bytes() + SCRIPT.encode(), "text/html; charset=utf-8")
            return
        super().do_GET()

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def make_server(site: Site, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server on the loopback address; port 0 takes a free one."""
    return http.server.ThreadingHTTPServer((HOST, port), functools.partial(_Handler, site=site))


def serve(site: Site, port: int, every: float, tell: Callable[[str], None]) -> None:
    """Serve until interrupted, looking at the store every few seconds."""
    server = make_server(site, port)
    tell(f"http://{HOST}:{server.server_address[1]}/ (Ctrl-C ends it)")
    stop = threading.Event()

    def keep_new() -> None:
        while not stop.wait(every):
            site.refresh()

    keeper = threading.Thread(target=keep_new, daemon=True)
    keeper.start()
    try:
        server.serve_forever()
    finally:
        stop.set()
        server.server_close()
