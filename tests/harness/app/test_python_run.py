"""``harness.run``: what ``harness run`` does, from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.base.yaml_nodes import parse
from harness.cli.group import run_main
from harness.errors import HarnessError

INLINE: dict[str, Any] = {"executor": "inline", "tuned": False}


def test_it_gives_what_the_command_prints(tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = harness.run(tiny, seeds=3, database=database, **INLINE)
    assert ran.complete
    assert (ran.record["trials"], ran.record["reused"], dict(ran.record["counts"])) == (6, 0, {"done": 6})
    again = harness.run(str(tiny), seeds=[0, 1, 2], database=database, **INLINE)
    assert again.record["reused"] == 6
    command = ["run", str(tiny), "--db", str(database), "--executor", "inline", "--no-report", "--no-tuned", "--json"]
    assert run_main(command) == 0
    (printed,) = json.loads(capsys.readouterr().out)["runs"]
    assert printed.keys() == again.record.keys()
    varying = {"run_id", "verdicts"}
    own = json.loads(json.dumps(again.record))
    assert {key: value for key, value in printed.items() if key not in varying} == {
        key: value for key, value in own.items() if key not in varying
    }
    for message, result in zip(printed["verdicts"], own["verdicts"], strict=True):
        assert {**message, "judged_at": ""} == {**result, "judged_at": ""}
    (row,) = ran.verdicts.to_dict("records")
    assert (row["claim_id"], row["verdict"], row["n"]) == ("tiny-better", "direction confirmed", 3)
    with harness.open(database) as db:
        assert db.verdicts("tiny").columns.tolist() == ran.verdicts.columns.tolist()
        assert set(db.results(run=ran.run_id, metric="score")["arm"]) == {"base", "better"}
    assert "tiny-better: direction confirmed" in repr(ran)
    assert "direction confirmed" in ran._repr_html_()


def test_a_suite_of_plain_data_is_judged_and_shown_again_by_its_name(
    tiny_text: str, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file holds it: the store has it, for ``harness claims`` and the pages."""
    monkeypatch.chdir(tmp_path)
    data = parse(tiny_text, tmp_path).plain()
    ran = harness.run(data, report=True, **INLINE)
    assert ran.database == database
    assert ran.report is not None
    assert ran.report.is_file()
    assert run_main(["claims", "tiny", "--format", "json"]) == 0
    (message,) = json.loads(capsys.readouterr().out)
    assert [item["verdict"] for item in message["verdicts"]] == ["direction confirmed"]
    assert run_main(["report"]) == 0
    assert run_main(["claims", "tinny"]) == 2


def test_forced_and_scratch_runs(tiny: Path, database: Path, tmp_path: Path) -> None:
    suite = harness.load_suite(tiny)
    scratch = harness.run(suite, seeds=2, scratch=True, **INLINE)
    assert not scratch.database.exists()
    assert not database.exists()
    harness.run(suite, seeds=2, database=database, arms=["base"], **INLINE)
    forced = harness.run(suite, seeds=2, database=database, force=True, **INLINE)
    assert forced.record["reused"] == 0
    assert dict(forced.record["counts"]) == {"done": 4}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "rya"}, "unknown executor 'rya'; did you mean 'ray'"),
        ({"seeds": 0}, "--seeds '0'"),
        ({"seeds": [-1]}, "whole numbers from 0 on"),
        ({"scale": "minni"}, "did you mean 'mini'"),
        ({"arms": ["bettr"]}, "did you mean 'better'"),
        ({"overrides": {"stepss": 2}}, "stepss"),
        ({"scratch": True, "database": "x.duckdb"}, "'scratch' and 'database' exclude"),
    ],
)
def test_wrong_usage_is_one_message_before_anything_runs(
    tiny: Path, database: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        harness.run(tiny, **{"executor": "inline", **options})
    assert not database.exists()
