"""Trials written to MLflow and TensorBoard, exported and live."""

import dataclasses
import math
import struct
from pathlib import Path
from typing import Any

import import_support as made
import pytest
from tables_support import rows, run

from harness.base.event_files import scalars_of
from harness.cli.group import run_main
from harness.errors import HarnessError
from harness.exports import trackers as trackers_of
from harness.exports.tracked import TrackedTrial, kind_of, tracked_trials
from harness.exports.trackers import TRACKERS, MLflowStore, TensorBoardFolder, tracker_of
from harness.results.current import ResultFilter
from harness.store import open_reader
from harness.trial.result import Score

Points = list[tuple[int, float, int]]


def mlflow_runs(store: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Every run of a store by experiment and name, read by MLflow."""
    client = made.mlflow().MlflowClient(store.as_uri())
    result = {}
    for experiment in client.search_experiments():
        for each in client.search_runs([experiment.experiment_id]):
            metrics: dict[str, Points] = {}
            for key in each.data.metrics:
                history = client.get_metric_history(each.info.run_id, key)
                metrics[key] = [(point.timestamp, point.value, point.step) for point in history]
            parts = {"params": each.data.params, "tags": each.data.tags, "metrics": metrics, "info": each.info}
            result[experiment.name, each.info.run_name] = parts
    return result


@pytest.fixture(scope="module")
def two_seeds(tiny_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    (folder / "tiny.yaml").write_text(tiny_text)
    run(folder / "tiny.yaml", "--seeds", 2, "--db", folder / "h.duckdb")
    return folder / "h.duckdb"


@pytest.fixture
def store(two_seeds: Path, trackers: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of two arms and seeds for the commands."""
    monkeypatch.setenv("HARNESS_DB", str(two_seeds))
    return two_seeds


def stored_scores(capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], float]:
    sql = "SELECT arm, seed, split, metric, value FROM current_results"
    result = rows(capsys, sql)
    return {(f"known/{row['arm']}/{row['seed']}", f"{row['split']}/{row['metric']}"): row["value"] for row in result}


@pytest.mark.full
def test_mlflow_file_store(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the second export replaces the first
        assert run_main(["export", "--to", "mlflow", str(tmp_path / "mlruns")]) == 0
        assert len(mlflow_runs(tmp_path / "mlruns")) == 4
    runs = mlflow_runs(tmp_path / "mlruns")
    assert set(runs) == {("tiny/mini", f"known/{arm}/{seed}") for arm in ("base", "better") for seed in (0, 1)}
    for (name, key), value in stored_scores(capsys).items():
        ((_, written, _),) = runs["tiny/mini", name]["metrics"][f"final/{key}"]
        assert written == value
    item = runs["tiny/mini", "known/better/1"]
    assert (item["params"]["arm"], item["params"]["seed"], item["params"]["recipe.effect"]) == ("better", "1", "3.0")
    assert item["params"]["slots.optimizer.lr"] == "0.1"
    assert item["info"].status == "FINISHED"
    assert item["info"].end_time >= item["info"].start_time > 1_500_000_000_000
    (trial,) = rows(capsys, "SELECT trial_id, run_id FROM cell_trials WHERE arm = 'better' AND seed = 1")
    assert (item["tags"]["harness.trial_id"], item["tags"]["harness.run_id"]) == (trial["trial_id"], trial["run_id"])
    curve = rows(
        capsys,
        "SELECT m.split || '/' || name AS key, list(step ORDER BY step) AS steps, "
        "list(m.value ORDER BY step) AS points FROM metrics m "
        f"WHERE trial_id = '{trial['trial_id']}' GROUP BY ALL",
    )
    assert curve
    for series in curve:
        points = item["metrics"][series["key"]]
        assert [step for _, _, step in points] == series["steps"]
        assert [value for _, value, _ in points] == series["points"]


@pytest.fixture
def trackers() -> None:
    """Skip where the trackers' packages are missing."""
    made.mlflow()
    pytest.importorskip("tensorboard", reason="needs the extra 'trackers'")


@pytest.mark.full
def test_tensorboard_event_files(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tb"
    for _ in range(2):
        assert run_main(["export", "--to", "tensorboard", str(folder)]) == 0
    files = sorted(folder.rglob("events.out.tfevents.*"))
    assert len(files) == 4
    ids = {(row["arm"], row["seed"]): row["trial_id"] for row in rows(capsys, "FROM cell_trials")}
    scores = stored_scores(capsys)
    for (arm, seed), trial in ids.items():
        (file,) = folder.glob(f"tiny/mini/known/{arm}/seed{seed}-{trial[:8]}/events.out.tfevents.*")
        result = list(scalars_of(file))
        finals = {tag: value for _, tag, value in result if tag.startswith("final/")}
        wanted = {f"final/{key}": value for (name, key), value in scores.items() if name == f"known/{arm}/{seed}"}
        assert finals == {key: struct.unpack("<f", struct.pack("<f", value))[0] for key, value in wanted.items()}
        sql = f"SELECT step, split || '/' || name AS tag, value FROM metrics WHERE trial_id = '{trial}'"
        curves = {(row["step"], row["tag"]): row["value"] for row in rows(capsys, sql)}
        written = {(step, tag): value for step, tag, value in result if not tag.startswith("final/")}
        assert written.keys() == curves.keys()
        assert all(written[key] == pytest.approx(value, rel=1e-6) for key, value in curves.items())


@pytest.mark.full
@pytest.mark.parametrize("name", ["../../x", "..", "/etc", "", "a" * 300])
def test_no_name_leads_out_of_the_folder(store: Path, tmp_path: Path, name: str) -> None:
    with open_reader(store) as reader:
        trial = next(tracked_trials(reader, ResultFilter()))
    folder = TensorBoardFolder(tmp_path / "a" / "tb")
    for part in ("benchmark", "arm", "suite"):
        folder.write(dataclasses.replace(trial, **{part: name}))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["tb"]
    assert not (tmp_path / "x").exists()


@pytest.mark.full
def test_a_filter_keeps_what_it_names(store: Path, tmp_path: Path) -> None:
    more = ["--arm", "better", "--metric", "score", "--split", "test"]
    assert run_main(["export", "--to", "mlflow", str(tmp_path / "m"), *more]) == 0
    runs = mlflow_runs(tmp_path / "m")
    assert {name for _, name in runs} == {"known/better/0", "known/better/1"}
    assert {key for item in runs.values() for key in item["metrics"]} <= {"final/test/score", "test/score"}


@pytest.mark.full
@pytest.mark.usefixtures("trackers")
def test_live_writes_what_an_export_writes(tiny: Path, tmp_path: Path) -> None:
    live, log = tmp_path / "live", tmp_path / "log"
    run(tiny, "--track", f"mlflow:{live.as_uri()}", "--track", f"tensorboard:{log}", "--seeds", 2)
    assert run_main(["export", "--to", "mlflow", str(tmp_path / "later")]) == 0
    now, later = mlflow_runs(live), mlflow_runs(tmp_path / "later")
    assert set(now) == set(later)
    for key, item in now.items():
        assert item["params"] == later[key]["params"]
        assert item["metrics"].keys() == later[key]["metrics"].keys()
        for name, points in item["metrics"].items():
            assert [point[1:] for point in points] == [point[1:] for point in later[key]["metrics"][name]]
            assert all(abs(a[0] - b[0]) <= 1 for a, b in zip(points, later[key]["metrics"][name], strict=True))
    assert len(list(log.rglob("events.out.tfevents.*"))) == 4


@pytest.mark.full
@pytest.mark.usefixtures("trackers")
def test_live_writes_failures_and_keeps_what_is_no_trial_of_the_plan_apart(tiny: Path, tmp_path: Path) -> None:
    text = tiny.read_text().replace("noise_key: base}", "noise_key: base, diverges_above: 0.15}")
    tiny.write_text(text + "tuned: {budget: 2, seeds: 1, searches: 1, rates: {factors: [1.0, 3.0]}}\n")
    run(tiny, "--track", f"mlflow:{tmp_path / 'live'}", "--seeds", 1, "--arm", "base", "--arm", "better")
    runs = mlflow_runs(tmp_path / "live")
    assert {name for group, name in runs if group == "tiny/mini"} == {"known/base/0", "known/better/0"}
    assert {group for group, _ in runs} >= {"tiny/mini", "tiny/mini/sweep points"}
    diverged = [item for item in runs.values() if item["tags"]["harness.status"] == "diverged"]
    assert diverged
    assert {item["info"].status for item in diverged} == {"FAILED"}


def test_a_tracker_that_fails_is_a_warning(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full:
        def write(self, trial: TrackedTrial) -> None:
            raise OSError("No space left on device")

    class Memory:
        def write(self, trial: TrackedTrial) -> None:
            written.append(trial)

    written: list[TrackedTrial] = []
    monkeypatch.setattr(trackers_of, "TRACKERS", {"full": lambda folder: Full(), "memory": lambda folder: Memory()})
    run(tiny, "--track", f"full:{tmp_path / 'full'}", "--track", f"memory:{tmp_path / 'memory'}")
    message = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(message) == 2, "the first failure, and that it is given up"
    assert "No space left on device" in message[0]
    assert "given up after 3" in message[1]
    assert sorted(trial.name for trial in written) == [
        f"known/{arm}/{n}" for arm in ("base", "better") for n in range(3)
    ]
    assert all(trial.last_step == 20 for trial in written)
    assert dataclasses.replace(written[0], series=()).last_step == 0
    assert len(rows(capsys, "FROM cell_trials WHERE status = 'done'")) == 6


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("comet:x", "unknown tracker 'comet'; valid: mlflow, tensorboard"),
        ("mlflw:x", "did you mean 'mlflow'"),
        ("mlflow", "expected a folder after 'mlflow:'"),
        ("mlflow:http://localhost:5000", "only folders are written, not http"),
        ("mlflow:sqlite:///x.db", "only folders are written, not sqlite"),
        ("mlflow:file://elsewhere/x", "only folders are written"),
    ],
)
def test_a_target_that_cannot_be_is_one_message_before_anything_runs(
    tiny: Path, database: Path, target: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny, "--track", target, code=2)
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
    assert not database.exists()


@pytest.mark.full
@pytest.mark.usefixtures("trackers")
def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(HarnessError, match="cannot be written"):
        tracker_of(f"mlflow:{tmp_path / 'file'}")
    assert isinstance(tracker_of(f"mlflow:{tmp_path / 'a' / 'b'}"), MLflowStore)
    assert set(TRACKERS) == {"mlflow", "tensorboard"}


def test_kinds_of_arms() -> None:
    arms = ("x", "x#3", "prerequisite:t", "x-tuned", "x-lr-0.1", "x-tuned-once")
    expected = ["published", "sweep points", "prerequisites", "tuned", "rates", "published"]
    assert [kind_of(arm, {"x", "x-tuned-once"}) for arm in arms] == expected


@pytest.mark.full
def test_single_precision_does_not_break_on_large_numbers(store: Path, tmp_path: Path) -> None:
    with open_reader(store) as reader:
        trial = next(tracked_trials(reader, ResultFilter()))
    scores = tuple(
        Score("test", name, value)
        for name, value in (("huge", 1e300), ("low", -1e300), ("inf", math.inf), ("nan", math.nan))
    )
    TensorBoardFolder(tmp_path).write(dataclasses.replace(trial, results=scores, series=()))
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    result = {tag: value for _, tag, value in scalars_of(file)}
    assert result["final/test/huge"] == -result["final/test/low"] == pytest.approx(3.4028235e38)
    assert result["final/test/inf"] == math.inf
    assert math.isnan(result["final/test/nan"])
