"""``harness query`` and ``harness db`` as a person types them."""

import csv
import io
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from store_support import outcome, planned

from harness.cli.db import db_command as db
from harness.cli.read import query_command as query
from harness.store import StoreError, Writer


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "h.duckdb"
    monkeypatch.setenv("HARNESS_DB", str(path))
    with Writer(path) as owner:
        owner.record(planned("r", "t", "u"))
        values = [float("nan"), float("inf"), 0.5]
        results = [{"split": "test", "metric": f"m{i}", "value": value} for i, value in enumerate(values)]
        owner.record(outcome("t", results=results))
    return path


def call(command: click.Command, *arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(command, list(arguments), input=stdin, catch_exceptions=True)
    if isinstance(done.exception, StoreError):
        raise done.exception
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


SQL = "SELECT trial_id, metric, value FROM results ORDER BY metric"


def test_table_is_the_default(database: Path) -> None:
    code, out, err = call(query, SQL)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["trial_id", "metric", "value"]
    assert [line.split()[2] for line in lines[2:5]] == ["NaN", "Infinity", "0.5"]
    assert lines[-1] == "(3 rows)"
    assert call(query, "SELECT 1 AS x")[1].endswith("(1 row)\n")
    assert "(0 rows)" in call(query, "FROM trials WHERE false")[1]


def test_table_keeps_one_line_a_row(database: Path) -> None:
    out = call(query, "SELECT 'a\nb' AS x, NULL AS y, [1, 2] AS z, true AS w")[1]
    assert out.splitlines()[2].split() == ["a⏎b", "NULL", "[1,", "2]", "true"]


def test_cells_of_a_table_are_cut_at_a_readable_width_and_it_says_so(database: Path) -> None:
    long = "SELECT repeat('x', 4000) AS spec, 'short' AS y"
    out = call(query, long)[1]
    assert max(map(len, out.splitlines())) < 100
    assert out.splitlines()[2].split() == ["x" * 79 + "…", "short"]
    assert "(1 row; 1 cell cut at 80 characters; --width 0, --format json or --format csv show all)" in out
    assert "x" * 4000 in call(query, long, "--width", "0")[1]
    assert call(query, long, "--width", "10")[1].splitlines()[2].split() == ["x" * 9 + "…", "short"]
    for form in ("json", "csv"):
        assert "x" * 4000 in call(query, long, "--format", form)[1]
    whole = call(query, "SELECT repeat('x', 80) AS spec")[1]
    assert whole.splitlines()[-1] == "(1 row)"
    assert "x" * 80 in whole


def test_json_is_strict_and_typed(database: Path) -> None:
    def refuse(text: str) -> None:
        pytest.fail(text)

    code, out, _ = call(query, SQL, "--format", "json")
    assert code == 0
    assert [row["value"] for row in json.loads(out, parse_constant=refuse)] == ["NaN", "Infinity", 0.5]
    sql = "SELECT spec, stand_in, started_at, seed, 1.5::DECIMAL(3, 1) AS d FROM trials WHERE trial_id = 'u'"
    (row,) = json.loads(call(query, sql, "--format", "json")[1])
    assert row == {
        "spec": {"model": "resnet8"},
        "stand_in": ["data:real", "model"],
        "started_at": None,
        "seed": 0,
        "d": "1.5",
    }


def test_csv_can_be_read_back(database: Path) -> None:
    _, out, _ = call(query, "SELECT 'a,\"b\"\nc' AS x, NULL AS y, 2 AS z", "--format", "csv")
    assert list(csv.reader(io.StringIO(out))) == [["x", "y", "z"], ['a,"b"\nc', "", "2"]]


def test_sql_from_standard_input_and_a_named_database(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DB")
    code, out, _ = call(query, "-", "--db", str(database), "--format", "csv", stdin="SELECT 42 AS x")
    assert (code, out) == (0, "x\n42\n")


def test_errors_are_one_message_with_exit_code_2(database: Path, tmp_path: Path) -> None:
    assert StoreError.exit_code == 2
    for arguments in (["DROP TABLE trials"], ["FROM nothing"], ["FROM trials", "--db", str(tmp_path / "none")]):
        with pytest.raises(StoreError) as caught:
            call(query, *arguments)
        assert "\n" not in str(caught.value)
    assert call(query, "FROM trials", "--format", "xml")[0] == 2


def test_check_and_rebuild(database: Path) -> None:
    code, out, _ = call(db, "check")
    assert code == 0
    assert "is valid" in out
    database.write_bytes(b"")
    code, out, _ = call(db, "check")
    assert code == 1
    assert "harness db rebuild" in out
    code, out, _ = call(db, "rebuild")
    assert code == 0
    assert "2 trials (1 finished), 3 results" in out
    assert "the old file is now" in out
    assert call(db, "check")[0] == 0
