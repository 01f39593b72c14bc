"""Taking results out: tables for other tools and for papers, two runs side by side, the served report."""

from __future__ import annotations

import csv
import json
import re
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from harness.cli.group import run_main
from harness.results.export import latex, markdown
from harness.results.serve import HOST, LIVE_SECONDS, ServedReport, make_server


@pytest.fixture
def stored(tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A database with two runs: the second has another effect in one arm."""
    arguments = ["run", str(tiny), "--executor", "inline", "--no-report", "--quiet"]
    assert run_main(arguments) == 0
    tiny.write_text(tiny.read_text().replace("effect: 3.0", "effect: -3.0"))
    assert run_main(arguments) == 0
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


def test_tables_for_a_paper(stored: Path, tmp_path: Path) -> None:
    assert run_main(["export", "--to", "latex", str(tmp_path)]) == 0
    assert run_main(["export", "--to", "markdown", str(tmp_path)]) == 0
    results = (tmp_path / "results.md").read_text()
    assert "| known | better | mini | score |" in re.sub(" +", " ", results)
    assert r"\toprule" in (tmp_path / "verdicts.tex").read_text()
    assert "mini (stand-in: nothing, not Known truth)" in (tmp_path / "verdicts.md").read_text()


def test_names_from_users_are_escaped() -> None:
    table = pd.DataFrame([["x_1 & 50 % $ # {y}", "a|b\nc"], ["0.1000", "~^\\"]], columns=["a_b", "c|d"])
    shown = latex(table).splitlines()
    assert shown[2] == r"a\_b & c|d \\"
    assert shown[4].startswith(r"x\_1 \& 50 \% \$ \# \{y\} & a|b")
    assert shown[-3] == r"0.1000 & \textasciitilde \textasciicircum \textbackslash  \\"
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in markdown(table).splitlines()]
    assert rows[0] == ["a_b", r"c\|d"]
    assert rows[2:] == [["x_1 & 50 % $ # {y}", r"a\|b c"], ["0.1000", "~^\\"]]


def test_two_runs_side_by_side(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["list", "runs", "--json"]) == 0
    first, second = (row["run_id"] for row in json.loads(capsys.readouterr().out))
    assert run_main(["diff", first, "latest", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["second"] == second
    assert (found["shared_trials"], found["only_first"], found["only_second"]) == (3, 3, 3)
    changed = {(cell["arm"], cell["metric"]) for cell in found["cells"]}
    assert ("better", "score") in changed
    assert not {arm for arm, _ in changed} & {"base"}
    (verdict,) = found["verdicts"]
    assert verdict["claim_id"] == "tiny-better"
    assert verdict["first"] != verdict["second"]
    assert run_main(["diff", "nothing", "latest"]) == 2


def test_the_report_is_served_and_renewed(tmp_path: Path) -> None:
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
        time.sleep(LIVE_SECONDS)
        assert json.loads(get("/live"))["generation"] == 1
        assert "<p>2</p>" in get("/index.html")
        with pytest.raises(urllib.error.HTTPError):
            get("/../../etc/passwd")
        assert server.server_address[0] == "127.0.0.1"
    finally:
        server.shutdown()
        server.server_close()
