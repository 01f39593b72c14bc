"""Serves the report on this machine only and keeps it new while a run goes on."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
RELOAD = b"""<script>
(() => { let seen = null; const look = async () => { try {
  const now = await (await fetch("/generation", {cache: "no-store"})).text();
  if (seen !== null && now !== seen && !document.querySelector(":focus-visible, details[open]")) location.reload();
  seen = seen ?? now; } catch (error) { /* the server ended */ } };
  look(); setInterval(look, 3000); })();
</script>"""


class Site:
    """A written site and its generation: how often it was written."""

    def __init__(self, database: Path, write: Callable[[], Path]) -> None:
        self._database, self._write = database, write
        self._seen: tuple[float, float] | None = None
        self.generation = 0
        self.folder = self._write().parent
        self._seen = self._state()

    def _state(self) -> tuple[float, float]:
        """When the store last changed: its file, its newest segment."""
        journal = self._database.with_name(self._database.name + ".journal")
        segments = [file.stat().st_mtime for file in journal.iterdir()] if journal.is_dir() else []
        return (self._database.stat().st_mtime if self._database.exists() else 0.0, max(segments, default=0.0))

    def refresh(self) -> bool:
        """Write again where the store has changed; True where it had."""
        state = self._state()
        if state == self._seen:
            return False
        self._write()
        self._seen = self._state()
        self.generation += 1
        return True


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Static files, the generation's number, and a script that reloads a page whose site was written again."""

    def __init__(self, *arguments: Any, site: Site, **more: Any) -> None:
        self.site = site
        super().__init__(*arguments, directory=str(site.folder), **more)

    def do_GET(self) -> None:
        if self.path.split("?")[0] == "/generation":
            self._send(str(self.site.generation).encode(), "text/plain")
            return
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            path = path / "index.html"
        if path.suffix == ".html" and path.is_file():
            self._send(path.read_bytes() + RELOAD, "text/html; charset=utf-8")
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
