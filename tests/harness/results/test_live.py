"""Live reports of a run that goes on: progress, and the server of the pages."""

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from store_support import outcome
from waiting import until

from harness.results import serve
from harness.store import Writer, open_reader
from harness.store.events import HeartbeatEvent, LogEvent, PlannedEvent, RunEvent, StartedEvent

BEGAN = datetime(2026, 3, 4, 5, 0, 0)


def store(database: Path, status: str = "running") -> None:
    """A run of six trials: one reused, two ended (one failed), one running, two queued, one added seed."""
    with Writer(database, "r1") as owner:
        run = {"run_id": "r1", "suite": "s", "scale": "mini", "started_at": BEGAN.isoformat(), "status": status}
        owner.record(RunEvent(run=run))
        trials = [{"trial_id": f"t{n}", "suite": "s", "benchmark": "b", "arm": "a", "seed": n} for n in range(6)]
        links = [{"trial_id": f"t{n}", "benchmark": "b", "arm": "a", "reused": n == 0} for n in range(6)]
        owner.record(PlannedEvent(run_id="r1", trials=trials, links=links))
        for name, ended, took in (("t0", "done", 7), ("t1", "done", 10), ("t2", "failed", 20)):
            owner.record(StartedEvent(run_id="r1", trial_id=name, started_at=BEGAN.isoformat()))
            event = outcome(name, ended, run_id="r1", wall_seconds=took, error="no\nmore", results=[], series=[])
            owner.record(event)
        owner.record(StartedEvent(run_id="r1", trial_id="t3", started_at=BEGAN.isoformat()))
        owner.record(HeartbeatEvent(trial_id="t3", step=7, steps=20, loss=float("nan")))
        detail = {"claim_id": "c", "benchmark": "b", "arms": ["a", "x"], "seed": 5, "reason": "because"}
        owner.record(LogEvent(run_id="r1", event_kind="seed-bought", detail=detail))


def test_progress_rate_and_what_is_left(database: Path) -> None:
    store(database)
    with open_reader(database) as reader:
        message = serve.run_progress(reader, now=BEGAN + timedelta(seconds=30))
    assert message is not None
    assert (message.total, message.reused, message.done, message.failed) == (6, 1, 2, 1)
    assert message.per_minute == 4.0
    assert message.left_seconds == 15.0  # two more at 15 s each; three have run side by side for 60 s in 30
    assert message.running == (serve.RunningTrial("b/a/3", 7, 20, None),)
    assert message.failures == (serve.FailedTrial("b/a/2", "failed", "no"),)
    assert message.bought_count == 1
    assert message.bought == (serve.AddedSeed(message.bought[0].at, "c", "b", ("a", "x"), 5, "because"),)
    json.dumps(asdict(message))


def test_a_run_without_a_sign_of_life_is_said_to_be_silent(database: Path) -> None:
    store(database)
    with open_reader(database) as reader:
        late = serve.run_progress(reader, now=datetime.now() + timedelta(days=900))
    assert late is not None
    assert late.silent


def test_a_run_that_ended_is_not_live(database: Path) -> None:
    store(database, status="done")
    with open_reader(database) as reader:
        assert serve.run_progress(reader) is None


def test_failures_are_reported_until_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.results.serve.LIVE_SECONDS", 0.0)
    page = tmp_path / "index.html"
    calls: list[int] = []
    held = [True]

    def write() -> Path:
        calls.append(1)
        page.write_text("<p>x</p>")
        if len(calls) > 1:
            raise ValueError("the store is odd")
        return page

    def progress() -> serve.RunProgress | None:
        if held:
            raise ValueError("held")
        return None

    database = tmp_path / "h.duckdb"
    database.write_text("one")
    site = serve.ServedReport(database, write, progress)
    assert site.live() == serve.LiveState(generation=0, run=None, trouble="held")
    held.clear()
    assert site.live().trouble == ""
    os.utime(database, (1, 1))
    assert not site.refresh()
    assert "the store is odd" in site.trouble
    assert not site.refresh()
    assert len(calls) == 2


@contextmanager
def served(site: serve.ServedReport) -> Iterator[int]:
    """The port at which a report is served."""
    server = serve.make_server(site)
    assert server.server_address[0] == "127.0.0.1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def site_of(folder: Path) -> serve.ServedReport:
    (folder / "index.html").write_text("<p>x</p>")
    return serve.ServedReport(folder.parent / "h.duckdb", lambda: folder / "index.html")


def answer(port: int, method: str, path: str, host: str = "127.0.0.1:80") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host})
    got = connection.getresponse()
    return got.status, got.read()


def test_the_report_is_served_and_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.results.serve.LIVE_SECONDS", 0.0)
    written = []

    def write() -> Path:
        written.append(1)
        page = tmp_path / "site" / "index.html"
        page.parent.mkdir(exist_ok=True)
        page.write_text(f"<p>{len(written)}</p>")
        return page

    database = tmp_path / "h.duckdb"
    database.write_text("one")
    site = serve.ServedReport(database, write)
    with served(site) as port:
        first = answer(port, "GET", "/")[1]
        assert first.startswith(b"<p>1</p>")
        assert b"<script>" in first
        assert json.loads(answer(port, "GET", "/live")[1]) == {"generation": 0, "run": None, "trouble": ""}
        assert not site.refresh()
        database.write_text("two, later")
        os.utime(database, (1, 1))
        assert site.refresh()
        assert json.loads(answer(port, "GET", "/live")[1])["generation"] == 1
        assert b"<p>2</p>" in answer(port, "GET", "/index.html")[1]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_another_name_for_this_machine_is_refused(tmp_path: Path, method: str) -> None:
    (tmp_path / "pages").mkdir()
    with served(site_of(tmp_path / "pages")) as port:
        assert answer(port, method, "/", host="evil.example:80")[0] == 403
        assert answer(port, method, "/")[0] == 200


def test_nothing_but_the_pages_is_served(tmp_path: Path) -> None:
    """No folder listings, no files outside, no links that lead out."""
    pages = tmp_path / "pages"
    (pages / "assets").mkdir(parents=True)
    (pages / "assets" / "a.css").write_text("a {}")
    (tmp_path / "secret.html").write_text("secret")
    (pages / "link.html").symlink_to(tmp_path / "secret.html")
    (pages / "up").symlink_to(tmp_path)
    with served(site_of(pages)) as port:
        assert answer(port, "GET", "/assets/a.css") == (200, b"a {}")
        for path in ("/assets/", "/assets", "/link.html", "/up/secret.html", "/../secret.html", "/%2e%2e/secret.html"):
            status, body = answer(port, "GET", path)
            assert status == 404, path
            assert b"secret</" not in body
            assert answer(port, "HEAD", path)[0] == 404


@contextmanager
def process(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-u", "-m", "harness", *arguments],
        cwd=folder,
        env=dict(os.environ),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        started.terminate()
        started.wait(timeout=30)


@pytest.mark.full
def test_browse_follows_a_run_that_buys_seeds(tiny: Path, database: Path) -> None:
    text = tiny.read_text().replace("own_sd: 0.3}", "own_sd: 6.0, step_seconds: 0.02}")
    tiny.write_text(text)
    run = ("run", str(tiny), "--seeds", "3..7", "--executor", "inline", "--no-report", "--quiet", "--db", str(database))
    seen: list[dict[str, Any]] = []
    with process(tiny.parent, *run) as running:
        until(database.exists)
        with process(tiny.parent, "report", "--serve", str(tiny), "--db", str(database), "--every", "1") as browsing:
            assert browsing.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:\d+/", browsing.stdout.readline())
            assert address

            def get(path: str) -> str:
                with urllib.request.urlopen(address[0] + path) as answer:
                    return str(answer.read().decode())

            def live() -> dict[str, Any]:
                seen.append(json.loads(get("live")))
                return seen[-1]

            until(lambda: (live()["run"] or {}).get("bought_count") or running.poll() is not None)
            until(lambda: running.poll() is not None)
            until(lambda: live()["run"] is None and seen[-1]["generation"] >= 1)
            page = get("suites/tiny/mini/index.html")
    runs = [item["run"] for item in seen if item["run"]]
    assert runs
    assert max(run["bought_count"] for run in runs) >= 1
    assert [run["done"] for run in runs] == sorted(run["done"] for run in runs)
    assert 'fetch("/live"' in page
