"""Taking results out: tables for other tools and for papers, two runs side by side, the served report."""

from __future__ import annotations

import csv
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tables_support import run

from harness.cli.group import run_main
from harness.results.serve import HOST, ServedReport, make_server


@pytest.fixture
def stored(ran: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A database with two runs: the second has another effect in one arm."""
    ran.write_text(ran.read_text().replace("effect: 3.0", "effect: -3.0"))
    run(ran)
    capsys.readouterr()
    return database


def test_whole_tables(stored: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    assert run_main(["export", "--to", "parquet", str(tmp_path / "p")]) == 0
    assert pq.read_table(tmp_path / "p" / "trials.parquet").num_rows == 9
    assert run_main(["export", "--to", "csv", str(tmp_path / "c")]) == 0
    with (tmp_path / "c" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["metric"] for row in rows} >= {"score", "distance"}
    assert pq.read_table(tmp_path / "p" / "current_results.parquet").num_rows < len(rows)


def test_two_runs_side_by_side(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["list", "runs", "--json"]) == 0
    first, second = (row["run_id"] for row in json.loads(capsys.readouterr().out))
    assert run_main(["diff", first, "latest", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["second"] == second
    assert (result["shared_trials"], result["only_first"], result["only_second"]) == (3, 3, 3)
    changed = {(cell["arm"], cell["metric"]) for cell in result["cells"]}
    assert ("better", "score") in changed
    assert not {arm for arm, _ in changed} & {"base"}
    (verdict,) = result["verdicts"]
    assert verdict["claim_id"] == "tiny-better"
    assert verdict["first"] != verdict["second"]
    assert run_main(["diff", "nothing", "latest"]) == 2


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
    site = ServedReport(database, write)
    server = make_server(site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://{HOST}:{server.server_address[1]}"

    def get(path: str) -> str:
        with urllib.request.urlopen(address + path, timeout=10) as answer:
            return str(answer.read().decode())

    try:
        assert get("/").startswith("<p>1</p>")
        assert "<script>" in get("/")
        assert json.loads(get("/live")) == {"generation": 0, "run": None, "trouble": ""}
        assert not site.refresh()
        database.write_text("two, later")
        import os

        os.utime(database, (1, 1))
        assert site.refresh()
        assert json.loads(get("/live"))["generation"] == 1
        assert "<p>2</p>" in get("/index.html")
        with pytest.raises(urllib.error.HTTPError):
            get("/../../etc/passwd")
        assert server.server_address[0] == "127.0.0.1"
    finally:
        server.shutdown()
        server.server_close()
