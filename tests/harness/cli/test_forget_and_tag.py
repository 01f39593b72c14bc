"""``harness db tag``, ``db delete``, ``run --force`` and ``run --scratch`` as a person types them."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cli.group import run_main
from harness.execute.outcome import Outcome
from harness.plan.planning import Selection, make_plan
from harness.store import TABLES, Writer, check, open_reader, rebuild
from harness.store.events import OutcomeEvent, PlannedEvent
from harness.suite import load_suite
from harness.trial.result import Score
from harness.vocabulary import Status
from reports.data.suite_results import gather

INLINE = ("--executor", "inline", "--no-report", "--no-tuned")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Path:
    """The store of two runs, the second with one more seed."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "tiny.yaml").write_text(tiny_text, encoding="utf-8")
    for seeds in ("3", "4"):
        database = str(folder / "results" / "harness.duckdb")
        assert run_main(["run", str(folder / "tiny.yaml"), *INLINE, "--seeds", seeds, "--db", database, "--json"]) == 0
    return folder


@pytest.fixture
def store(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the default database, in the working folder."""
    shutil.copytree(ran, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results" / "harness.duckdb"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert run_main(list(arguments)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(call(capsys, *arguments, "--json"))


def dump(database: Path) -> dict[str, list[str]]:
    with open_reader(database, consistent=True) as reader:
        tables = (table for table in TABLES if table not in ("ingested", "deletions"))
        return {table: sorted(map(repr, reader.query(f"FROM {table}").rows)) for table in tables}


def test_a_deleted_trial_counts_as_not_stored(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = dump(store)
    output = call(capsys, "db", "delete", "--arm", "better", "--seed", "1", "--reason", "another file on that node")
    assert "the verdict of tiny-better (tiny) is now 'not run'" in output
    assert "1 trial deleted; 'harness db restore " in output
    plan = answer(capsys, "plan", "tiny.yaml", "--seeds", "4")
    assert (plan["trials"], plan["reused"]) == (8, 7)
    assert len(answer(capsys, "list", "trials")) == 7
    (count,) = json.loads(call(capsys, "query", "SELECT count(*) AS n FROM results", "--format", "json"))
    assert count["n"] == 7 * len(before["results"]) // 8
    with open_reader(store) as reader:
        (verdict,) = reader.verdicts(suite="tiny").dicts()
    assert (verdict["verdict"], verdict["n"], verdict["difference"]) == ("not run", 0, None)
    assert "1 trial of this verdict was deleted" in verdict["design"]["reason"]
    assert verdict["design"]["look"] is None
    assert check(store) == []
    now = dump(store)
    rebuild(store)
    assert dump(store) == now
    (held,) = answer(capsys, "db", "restore")
    assert (held["trials"], held["reason"]) == (1, "another file on that node")
    assert "1 trial of" in call(capsys, "db", "restore", "latest")
    assert dump(store) == before
    assert answer(capsys, "plan", "tiny.yaml", "--seeds", "4")["reused"] == 8


def test_pages_and_judge_do_not_see_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "db", "delete", "--arm", "better", "--seed", "1")
    (judged,) = json.loads(call(capsys, "claims", "tiny.yaml", "--format", "json"))
    assert (judged["verdicts"][0]["n"], judged["verdicts"][0]["design"]["numbers"]["missing"]) == (3, 1)
    suite = load_suite("tiny.yaml")
    with open_reader(store, consistent=True) as reader:
        ((gone,),) = reader.query("SELECT trial_id FROM trials_with_deleted WHERE deleted_at IS NOT NULL").rows
        shown = gather(reader, suite, make_plan(suite, Selection(seeds=(0, 1, 2, 3))))
    assert [link.trial_id for link in shown.absent()] == [gone]
    for _ in range(2):
        done = answer(capsys, "run", "tiny.yaml", *INLINE, "--seeds", "4")["runs"][0]
    assert done["reused"] == 8
    undone = answer(capsys, "db", "restore", "latest")
    assert (undone["trials"], undone["ran_again"]) == ([], [gone])


def test_a_dry_run_and_a_wrong_name_change_nothing(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = dump(store)
    result = answer(capsys, "db", "delete", "--suite", "tiny", "--dry-run")
    assert (len(result["trials"]), result["deletion_id"]) == (8, None)
    assert [item["claim_id"] for item in result["verdicts"]] == ["tiny-better"]
    for arguments, message in (
        ([], "name trials: their ids"),
        (["--arm", "bettter"], "did you mean 'better'"),
        (["--benchmark", "unknown"], "did you mean 'known'"),
        (["zzz"], "no trial begins with 'zzz'"),
        (["--run", "nothing"], "no run begins with 'nothing'"),
        (["--arm", "better", "--seed", "77"], "no ended trial matches"),
    ):
        assert run_main(["db", "delete", *arguments]) == 2
        output = capsys.readouterr().err
        assert message in output
        assert len(output.splitlines()) == 1
    assert dump(store) == before
    assert run_main(["db", "restore", "latest"]) == 2
    assert "unknown deletion 'latest'" in capsys.readouterr().err


def test_of_a_run_what_it_ran_itself(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "db", "tag", "latest", "fourth")
    result = answer(capsys, "db", "delete", "--run", "fourth")
    assert sorted((item["arm"], item["seed"]) for item in result["trials"]) == [("base", 3), ("better", 3)]
    assert run_main(["db", "restore", result["deletion_id"]]) == 0
    assert run_main(["db", "restore", result["deletion_id"]]) == 2
    assert "was undone before" in capsys.readouterr().err


def test_files_of_a_deleted_trial_wait_beside(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_reader(store) as reader:
        ((trial,), *_) = reader.query("SELECT trial_id FROM trials WHERE arm = 'base' ORDER BY seed").rows
    folder = store.parent / "artifacts" / trial
    folder.mkdir(parents=True)
    (folder / "state").write_text("of the first time")
    call(capsys, "db", "delete", trial[:12])
    assert not folder.exists(), "what runs again must not go on from it"
    folder.mkdir()
    (folder / "state").write_text("of a run that did not end")
    call(capsys, "db", "restore", "latest")
    assert (folder / "state").read_text() == "of the first time"
    assert [path.name for path in folder.parent.iterdir()] == [trial]


def test_tags(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (row["run_id"] for row in answer(capsys, "list", "runs"))
    assert call(capsys, "db", "tag", first, "camera-ready", "base").strip() == f"{first}: base camera-ready"
    call(capsys, "db", "tag", second, "base")
    assert [row["tags"] for row in answer(capsys, "list", "runs")] == ["base camera-ready", "base"]
    assert call(capsys, "db", "tag", "camera-ready").strip() == f"{first}: base camera-ready"
    call(capsys, "db", "tag", "camera-ready", "base", "--remove")
    assert [row["tags"] for row in answer(capsys, "list", "runs")] == ["camera-ready", "base"]
    call(capsys, "db", "tag", first, "base")
    for arguments, message in (
        (["nothing", "x"], "no run begins with 'nothing'"),
        (["base", "x"], "2 runs have the tag 'base'"),
        ([first, "two words"], "'two words' is not a valid tag"),
        ([first, "latest"], "'latest' is not a valid tag"),
        ([first, "camera", "--remove"], "did you mean 'camera-ready'"),
    ):
        assert run_main(["db", "tag", *arguments]) == 2
        assert message in capsys.readouterr().err


def with_a_wrong_number(database: Path, suite: Path) -> str:
    """Store a wrong number for one trial of the plan."""
    plan = make_plan(load_suite(suite), Selection(seeds=(0, 1, 2)))
    trial = next(item for item in plan.trials if (item.arm, item.seed) == ("better", 0))
    place = {"suite": "tiny", "benchmark": "known", "arm": "better", "seed": 0, "scale": "mini"}
    row = {"trial_id": trial.trial_id, **place}
    links = [{"trial_id": trial.trial_id, "benchmark": "known", "arm": "better"}]
    wrong = Outcome(trial.trial_id, Status.DONE, results=(Score("test", "score", 999.0),))
    with Writer(database, "elsewhere") as owner:
        owner.record(PlannedEvent("elsewhere", [row], links))
        owner.record(OutcomeEvent(wrong, "elsewhere"))
    return trial.trial_id


def test_force_deletes_and_runs(tiny: Path, database: Path, ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial = with_a_wrong_number(database, tiny)
    assert answer(capsys, "run", str(tiny), *INLINE)["runs"][0]["reused"] == 1
    assert answer(capsys, "run", str(tiny), *INLINE, "--force")["runs"][0]["reused"] == 0
    with open_reader(database) as reader, open_reader(ran / "results" / "harness.duckdb") as other:
        sql = "SELECT metric, value FROM results WHERE trial_id = ? ORDER BY ALL"
        assert reader.query(sql, [trial]).rows == other.query(sql, [trial]).rows
        (verdict,) = reader.verdicts(suite="tiny").dicts()
    assert verdict["verdict"] == "direction confirmed"
    (deletion,) = answer(capsys, "db", "restore")
    assert (deletion["reason"], deletion["trials"]) == ("run again by --force", 6)
    lines = b"".join(gzip.decompress(path.read_bytes()) for path in database.parent.rglob("*.jsonl.gz"))
    assert b'"value":999.0' in lines, "the event log keeps what was deleted"
    assert check(database) == []
    assert answer(capsys, "run", str(tiny), "--no-tuned", "--force", "--dry-run")["reused"] == 0
    assert answer(capsys, "run", str(tiny), *INLINE)["runs"][0]["reused"] == 6


def test_results_of_a_forced_run_that_fails_can_be_restored(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = dump(store)
    short = ("--arm", "base", "--force", "--set", "timeout_seconds=1e-6")
    assert run_main(["run", "tiny.yaml", *INLINE, "--seeds", "4", *short]) == 1
    assert len(answer(capsys, "db", "restore", "latest")["trials"]) == 4
    after = dump(store)
    for table in ("trials", "results", "metrics", "artifacts"):
        assert after[table] == before[table]


def test_a_scratch_run_leaves_nothing(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.chdir(tmp_path)
    arguments = ["run", str(tiny), "--executor", "inline", "--no-tuned", "--seeds", "2", "--scratch", "--quiet"]
    assert run_main(arguments) == 0
    done = capsys.readouterr()
    assert "tiny-better" in done.out
    assert f"nothing is stored; {temporary}/harness-scratch-" in done.err
    assert not list(temporary.glob("harness-scratch-*"))
    assert not (tmp_path / "results").exists()


def test_scratch_and_db_exclude_each_other(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["run", str(tiny), "--scratch", "--db", "x.duckdb"]) == 2
    assert "--scratch and --db exclude" in capsys.readouterr().err
