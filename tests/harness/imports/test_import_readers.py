"""Readers of external results: every layout, damaged files, skipped data."""

import json
import math
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import import_support as made
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.imports.foreign import ForeignRun, ForeignSource
from harness.imports.sources import read_source
from harness.imports.wandb_runs import read_log


def run_of(source: ForeignSource, **fields: object) -> ForeignRun:
    """The one run that has these fields."""
    result = [run for run in source.runs if all(str(run.fields.get(k)) == str(v) for k, v in fields.items())]
    assert len(result) == 1
    return result[0]


def test_a_table_of_each_kind_is_the_same_rows(tmp_path: Path) -> None:
    rows = made.rows(2)
    csv = made.write_csv(tmp_path / "r.csv")
    made.write_csv(tmp_path / "r.tsv", delimiter="\t")
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made.rows()))
    duckdb.sql(f"COPY (FROM '{csv}') TO '{tmp_path / 'r.parquet'}'")
    with duckdb.connect(tmp_path / "r.duckdb") as db:
        db.execute(f"CREATE TABLE results AS FROM '{csv}'")
    with closing(sqlite3.connect(tmp_path / "r.sqlite")) as db:
        db.execute("CREATE TABLE results (optimizer TEXT, seed INTEGER, acc REAL, loss REAL)")
        db.executemany("INSERT INTO results VALUES (:optimizer, :seed, :acc, :loss)", made.rows())
        db.commit()
    for name in ("r.csv", "r.tsv", "r.jsonl", "r.parquet", "r.duckdb", "r.sqlite"):
        source = read_source(tmp_path / name)
        assert source.rows
        assert source.kind == "table"
        assert len(source.runs) == 2 * made.SEEDS
        assert [float(run.fields["acc"]) for run in source.runs[:4]] == [row["acc"] for row in rows], name
        assert source.fields == ["optimizer", "seed", "acc", "loss"]
        assert len(source.sha256) == 64


@pytest.mark.full
def test_mlflow_folder_and_database_give_the_same_runs(tmp_path: Path) -> None:
    folder = read_source(made.write_mlruns(tmp_path / "mlruns", seeds=4))
    database = read_source(made.write_mlflow_database(tmp_path / "50% of?runs#1.db", seeds=4))
    for source, metric in ((folder, "val/acc"), (database, "acc")):
        assert source.kind == "MLflow store"
        assert not source.rows
        assert len(source.runs) == 8
        run = run_of(source, optimizer="adamp", seed="3")
        assert run.series[metric] == [(step, made.score("adamp", 3, step)) for step in range(3)]
        assert (run.fields["experiment"], run.fields["run"]) == ("digits", "run of adamp")
        assert run.fields["tags.group/inner"] == "x"
        assert run.ended == ""


@pytest.mark.full
def test_parts_of_an_mlflow_folder_and_odd_runs(tmp_path: Path) -> None:
    client = made.write_mlflow((tmp_path / "mlruns").as_uri(), "acc", seeds=2)
    (experiment,) = [item for item in client.search_experiments() if item.name == "digits"]
    folder = tmp_path / "mlruns" / experiment.experiment_id
    failed, deleted = (client.create_run(experiment.experiment_id).info.run_id for _ in range(2))
    client.log_param(failed, "seed", "7")
    client.log_metric(failed, "acc", float("nan"))
    client.set_terminated(failed, "FAILED")
    client.delete_run(deleted)
    before = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    source = read_source(folder)
    assert len(source.runs) == 5
    odd = run_of(source, seed="7")
    assert odd.ended == "is FAILED in MLflow"
    assert math.isnan(odd.series["acc"][0][1])
    assert source.notes == ("deleted in MLflow and left out: 1 run",)
    (item,) = read_source(folder / failed).runs
    assert (item.fields["seed"], item.fields["experiment"]) == ("7", "digits")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == before
    assert read_source(tmp_path / "mlruns").sha256 != source.sha256
    shutil.copytree(folder, tmp_path / "copy" / folder.name)
    assert read_source(tmp_path / "copy" / folder.name).sha256 == source.sha256


@pytest.mark.full
def test_a_damaged_mlflow_store_is_one_message(tmp_path: Path) -> None:
    made.write_mlflow((tmp_path / "mlruns").as_uri(), "acc", seeds=1)
    metric = next(tmp_path.rglob("metrics/acc"))
    metric.write_text("1700 high 1\n")
    with pytest.raises(HarnessError, match="MLflow cannot read it") as refused:
        read_source(tmp_path / "mlruns")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["mlflow", "tensorboard"])
def test_without_the_extra_a_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == kind]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, kind, None)
    (tmp_path / "0" / "run" / "metrics").mkdir(parents=True)
    for meta in ("0/meta.yaml", "0/run/meta.yaml"):
        (tmp_path / meta).write_text("name: x\n")
    (tmp_path / "events.out.tfevents.1").write_bytes(b"")
    with pytest.raises(HarnessError, match=rf"needs {kind}: pip install 'paper-harness\[trackers\]'"):
        read_source(tmp_path, kind)


def test_a_wandb_run_with_its_log(tmp_path: Path) -> None:
    source = read_source(made.write_wandb(tmp_path))
    assert source.kind == "W&B run folder"
    assert len(source.runs) == 2 * made.SEEDS
    run = run_of(source, optimizer="adamp", seed=2)
    curve = [(step, made.score("adamp", 2, step)) for step in range(3)]
    assert run.series["acc"] == [*curve, (None, made.score("adamp", 2, 2))]
    assert run.fields["Name"] == "adamp-s2"
    assert run.fields["group"] == "sweep-a"
    assert run.fields["train.lr"] == 0.1
    assert run.series["nested.f1"] == [(None, 0.5)]
    assert "_runtime" not in run.series
    assert "note" not in run.series
    assert source.notes == ()


def test_a_wandb_run_without_log_has_final_numbers_and_one_without_files_all(tmp_path: Path) -> None:
    made.write_wandb_run(tmp_path / "wandb", "adam", 0, log=False)
    source = read_source(tmp_path / "wandb")
    assert source.runs[0].series["acc"] == [(None, made.score("adam", 0, 2))]
    (note,) = source.notes
    assert "no run-….wandb" in note
    assert "only final numbers" in note
    folder = made.write_wandb_run(tmp_path / "log", "adam", 1, exit_code=1)
    shutil.rmtree(folder / "files")
    (run,) = read_source(folder).runs
    assert run.series["acc"][-1] == (None, made.score("adam", 1, 2))
    assert run.ended == "ended with exit code 1"


def test_records_longer_than_a_block_and_pictures(tmp_path: Path) -> None:
    folder = made.write_wandb_run(tmp_path, "adam", 1, big=True)
    source = read_source(folder)
    assert [step for step, _ in source.runs[0].series["acc"]] == [0, 1, 2, None]
    assert "pictures" not in source.runs[0].series
    assert "histograms, media and tables are left out (picture._type, picture.path)" in source.notes[0]


@pytest.mark.parametrize(
    ("damage", "note"),
    [
        (lambda content: content[:-60], "breaks off: the last record is cut off"),
        (lambda content: content[:60] + bytes([content[60] ^ 0xFF]) + content[61:], "another checksum"),
        (lambda content: b"something else", "cannot be read (not a log of W&B"),
    ],
)
def test_a_damaged_wandb_log_is_reported(tmp_path: Path, damage: Callable[[bytes], bytes], note: str) -> None:
    folder = made.write_wandb_run(tmp_path, "adam", 1, steps=5)
    log = next(folder.glob("*.wandb"))
    log.write_bytes(damage(log.read_bytes()))
    source = read_source(folder)
    assert source.runs[0].series["acc"], "the first records, or the summary"
    assert note in source.notes[0]


@given(st.lists(st.binary(max_size=70_000), max_size=4))
@settings(max_examples=25, deadline=None)
def test_every_record_comes_out_of_the_log_as_it_went_in(bodies: list[bytes]) -> None:
    from harness.imports.wandb_runs import _records

    assert list(_records(made.wandb_log(bodies))) == bodies


@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_any_bytes_after_a_header_give_a_log_or_reason(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("log") / "run-x.wandb"
    file.write_bytes(made.wandb_log([data]))
    log = read_log(file)
    assert log.broken or not log.history or all(isinstance(step, int) for step in next(iter(log.history.values())))


def test_wandb_exports(tmp_path: Path) -> None:
    table = read_source(made.write_wandb_table(tmp_path / "runs.csv", crashed=("adam", 1)))
    assert table.kind == "W&B table of runs"
    assert run_of(table, Name="adam-s1").ended == "is 'crashed' in its table of runs"
    assert run_of(table, Name="adam-s0").ended == ""
    chart = read_source(made.write_wandb_chart(tmp_path / "chart.csv"))
    assert chart.kind == "W&B chart"
    assert len(chart.runs) == 2 * made.SEEDS
    assert [step for step, _ in run_of(chart, Name="adam-s0").series["acc"]] == [0, 2]  # one is empty
    assert run_of(chart, Name="adamp-s3").series["acc"][1] == (1, made.score("adamp", 3, 1))


def test_columns_that_only_resemble_an_export_are_a_table(tmp_path: Path) -> None:
    state = read_source(made.write_csv(tmp_path / "a.csv", [{"Name": "a", "State": "Texas", "acc": 1.0}]))
    assert state.runs[0].ended == ""
    dash = read_source(made.write_csv(tmp_path / "b.csv", [{"seed": 0, "adam - acc": 1.0, "adamp - acc": 2.0}]))
    assert dash.kind == "table"


@pytest.mark.full
def test_tensorboard_folders(tmp_path: Path) -> None:
    source = read_source(made.write_tensorboard(tmp_path / "runs"))
    assert source.kind == "TensorBoard folder"
    run = run_of(source, path="adamp/seed3")
    assert [step for step, _ in run.series["val/acc"]] == [0, 1, 2]
    assert run.series["val/acc"][2][1] == pytest.approx(made.score("adamp", 3, 2) / 100, rel=1e-6)  # 32 bits
    assert (run.fields["run"], run.fields["above"]) == ("seed3", "adamp")


@pytest.mark.full
def test_tensorboard_files_restarted_truncated_and_empty(tmp_path: Path) -> None:
    file = made.write_events(tmp_path / "a", [(0, {"acc": 1.0}), (1, {"acc": 2.0})])
    assert read_source(file).runs[0].series["acc"] == [(0, 1.0), (1, 2.0)]
    file.rename(tmp_path / "a" / "events.out.tfevents.1")
    later = made.write_events(tmp_path / "a", [(1, {"acc": 3.0}), (2, {"acc": 4.0}), (3, {"acc": 5.0})], ".b")
    later.write_bytes(later.read_bytes()[:-3])
    empty = made.write_events(tmp_path / "b", [])
    source = read_source(tmp_path)
    assert source.runs[0].series["acc"] == [(0, 1.0), (1, 3.0), (2, 4.0)]
    assert source.notes == ("no scalar in b",)
    with pytest.raises(HarnessError, match="no scalar in 1 event file"):
        read_source(empty)


def study(storage: object) -> None:
    """Two trials of each arm, a pruned and a failed one."""
    result = optuna.create_study(study_name="tuning", storage=storage, direction="maximize")  # type: ignore[arg-type]
    for arm, seed in made.each(2):
        trial = result.ask({"optimizer": optuna.distributions.CategoricalDistribution(["adam", "adamp"])})
        trial.set_user_attr("seed", seed)
        trial.set_user_attr("arm", arm)
        trial.set_user_attr("loss", 0.25)
        for step in range(3):
            trial.report(made.score(arm, seed, step), step)
        result.tell(trial, made.score(arm, seed, 2))
    pruned = result.ask()
    pruned.set_user_attr("seed", 9)
    pruned.report(1.0, 0)
    result.tell(pruned, state=optuna.trial.TrialState.PRUNED)


@pytest.mark.parametrize("form", ["sqlite", "journal"])
def test_optuna_studies(tmp_path: Path, form: str) -> None:
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = tmp_path / ("study.db" if form == "sqlite" else "journal.log")
    study(f"sqlite:///{path}" if form == "sqlite" else JournalStorage(JournalFileBackend(str(path))))
    content = path.read_bytes()
    source = read_source(path)
    assert source.kind == "Optuna study"
    run = run_of(source, arm="adamp", seed=1)
    assert run.fields["study"] == "tuning"
    curve = [(step, made.score("adamp", 1, step)) for step in range(3)]
    assert run.series["value"] == [*curve, (None, made.score("adamp", 1, 2))]
    assert run.series["loss"] == [(None, 0.25)]
    assert run_of(source, seed=9).ended == "is PRUNED in the study"
    assert path.read_bytes() == content, "Optuna writes into what it opens"
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name]


def test_a_database_that_only_looks_like_a_study(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path)) as db:
        for table in ("studies", "trials", "trial_values", "version_info"):
            db.execute(f"CREATE TABLE {table} (x INTEGER)")
        db.commit()
    with pytest.raises(HarnessError, match="Optuna cannot read it"):
        read_source(path)


def test_what_is_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "none.csv", "no file or folder"),
        (tmp_path / "empty", "unknown contents; a folder of results is an MLflow store"),
    ):
        with pytest.raises(HarnessError, match=message):
            read_source(path)
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(HarnessError, match="unsupported file extension"):
        read_source(tmp_path / "notes.md")
    (tmp_path / "run-x.wandb").write_bytes(b"x")
    with pytest.raises(HarnessError, match="name the folder that it is in"):
        read_source(tmp_path / "run-x.wandb")
    with pytest.raises(HarnessError, match="is a folder, not a table"):
        read_source(tmp_path / "empty", "table")
    with closing(sqlite3.connect(tmp_path / "m.db")) as db:
        for table in ("experiments", "runs", "params", "tags", "metrics"):
            db.execute(f"CREATE TABLE {table} (x INTEGER)")
        db.execute("INSERT INTO params VALUES (1)")
        db.commit()
    with pytest.raises(HarnessError, match="'--as table' reads one of its tables"):
        read_source(tmp_path / "m.db", "mlflow", "params")
    assert read_source(tmp_path / "m.db", None, "params").kind == "table"
