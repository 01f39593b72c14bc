"""``harness import`` as a user calls it: files of every kind become trials, labelled wherever they are shown."""

import contextlib
import io
import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import import_support as made
import pytest
from scipy.stats import t

from harness.app import report as reporting
from harness.cli.group import run_main
from harness.imports import trials
from harness.store import open_reader
from reports.site import write_site

LABEL = re.compile(r"imported from (\S+) \(sha256 [0-9a-f]{12}\)")
ACC = ("--metric", "acc=accuracy")


@pytest.fixture(autouse=True)
def _pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages of this tree, whatever package is installed."""
    monkeypatch.setattr(reporting, "page_writer", lambda name: write_site)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return made.write_suite(tmp_path)


def call(*arguments: object) -> int:
    return run_main([str(argument) for argument in arguments])


def printed(*arguments: object) -> Any:
    """The JSON that a command prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert call(*arguments, "--format", "json") == 0
    return json.loads(text.getvalue())


def imported(suite: Path, *arguments: object) -> dict[str, Any]:
    return printed("import", *arguments, "--suite", suite)


def claims(suite: Path, *arguments: object) -> dict[str, Any]:
    (message,) = printed("claims", suite, *arguments)
    return message


def verdict(answer: dict[str, Any], claim: str | None = None) -> dict[str, Any]:
    (item,) = [item for item in answer["verdicts"] if claim in (None, item["claim_id"])]
    return item


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_reader(database) as reader:
        return [tuple(row) for row in reader.query(sql).rows]


def expected() -> float:
    """The mean gain of adamp."""
    gains = [made.score("adamp", seed, 2) - made.score("adam", seed, 2) for seed in range(made.SEEDS)]
    return sum(gains) / len(gains)


FORMATS: list[tuple[str, Any, Sequence[str], bool]] = [
    ("mlruns", made.write_mlruns, ("--metric", "val/acc=accuracy"), True),
    ("mlflow.db", made.write_mlflow_database, ACC, True),
    ("work", made.write_wandb, ACC, True),
    ("chart.csv", made.write_wandb_chart, (*ACC, "--pattern", "Name={arm}-s{seed}"), True),
    ("runs", made.write_tensorboard, ("--pattern", "path={arm}/seed{seed}", "--metric", "val/acc=accuracy*100"), True),
]


@pytest.mark.full
@pytest.mark.parametrize(("name", "write", "flags", "curves"), FORMATS, ids=[item[0] for item in FORMATS])
def test_each_kind_of_tracker_becomes_trials_and_a_verdict(
    suite: Path, database: Path, name: str, write: Any, flags: Sequence[str], curves: bool
) -> None:
    path = write(suite.parent / name)
    (file,) = imported(suite, path, *flags)["files"]
    assert (file["new"], file["stored"], file["failed"]) == (12, 0, [])
    assert {(cell["arm"], tuple(cell["seeds"])) for cell in file["cells"]} == {
        (arm, tuple(range(made.SEEDS))) for arm in ("adam", "adamp")
    }
    assert rows(database, "SELECT count(*) FROM results WHERE metric = 'accuracy' AND split = 'test'") == [(12,)]
    if curves:
        assert rows(database, "SELECT count(DISTINCT trial_id), max(step) FROM metrics WHERE name = 'accuracy'") == [
            (12, 2)
        ]
    message = verdict(claims(suite, "--imported", "only"))
    assert message["verdict"] == "direction confirmed"
    assert message["n"] == made.SEEDS
    assert message["difference"] == pytest.approx(expected(), abs=1e-4)
    assert any(LABEL.match(text) for text in message["design"]["warnings"])


def test_tables_of_every_kind_give_one_verdict(suite: Path, tmp_path: Path) -> None:
    csv = made.write_csv(tmp_path / "r.csv")
    made.write_wandb_table(tmp_path / "w.csv")
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made.rows()))
    duckdb.sql(f"COPY (FROM '{csv}') TO '{tmp_path / 'r.parquet'}'")
    seen = []
    for number, name in enumerate(("r.csv", "w.csv", "r.jsonl", "r.parquet")):
        own = tmp_path / f"{number}.duckdb"
        imported(suite, tmp_path / name, *ACC, "--db", own)
        seen.append(verdict(claims(suite, "--imported", "only", "--db", own)))
    assert len({(item["verdict"], item["n"], round(item["difference"], 9)) for item in seen}) == 1


def test_an_optuna_study(suite: Path, tmp_path: Path) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=f"sqlite:///{tmp_path / 's.db'}", study_name="x", direction="maximize")
    for arm, seed in made.each():
        trial = study.ask({"optimizer": optuna.distributions.CategoricalDistribution([arm])} if seed < 0 else {})
        trial.set_user_attr("optimizer", arm)
        trial.set_user_attr("seed", seed)
        for step in range(2):
            trial.report(made.score(arm, seed, step), step)
        study.tell(trial, made.score(arm, seed, 2))
    imported(suite, tmp_path / "s.db", "--metric", "value=accuracy")
    message = verdict(claims(suite, "--imported", "only"))
    assert (message["verdict"], message["difference"]) == ("direction confirmed", pytest.approx(expected()))


def test_the_same_file_twice_imports_nothing_and_says_so(
    suite: Path, database: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = made.write_csv(tmp_path / "results.csv")
    assert call("import", path, "--suite", suite, *ACC) == 0
    assert "12 trials imported" in capsys.readouterr().out
    assert call("import", path, "--suite", suite, *ACC) == 0
    assert f"nothing imported: every trial of {path} is already there (12 trials)" in capsys.readouterr().out
    assert rows(database, "SELECT count(*) FROM runs") == [(1,)]
    assert rows(database, "SELECT count(*) FROM trials") == [(12,)]
    assert rows(database, "SELECT count(*) FROM results") == [(24,)]


def test_a_dry_run_stores_nothing(
    suite: Path, database: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call("import", made.write_csv(tmp_path / "r.csv"), "--suite", suite, *ACC, "--dry-run") == 0
    assert "12 trials would be imported" in capsys.readouterr().out
    assert not database.exists()


def test_a_rebuild_from_the_journal_keeps_them(suite: Path, database: Path, tmp_path: Path) -> None:
    table = made.rows()
    table[0]["acc"] = ""
    imported(suite, made.write_csv(tmp_path / "r.csv", table), *ACC)
    before = verdict(claims(suite, "--imported", "only"))
    sql = "SELECT trial_id, benchmark, arm, seed, status, error, environment_id, spec::VARCHAR FROM trials ORDER BY ALL"
    trials, links = rows(database, sql), rows(database, "SELECT * FROM run_trials ORDER BY ALL")
    assert call("db", "check") == 0
    assert call("db", "rebuild") == 0
    assert rows(database, sql) == trials
    assert rows(database, "SELECT * FROM run_trials ORDER BY ALL") == links
    assert rows(database, "SELECT status, environment_id FROM runs") == [("done", "imported")]
    after = verdict(claims(suite, "--imported", "only"))
    assert (after["verdict"], after["n"], after["difference"]) == (before["verdict"], before["n"], before["difference"])
    assert imported(suite, tmp_path / "r.csv", *ACC)["files"][0]["new"] == 0


def test_what_a_stored_trial_says_of_itself(suite: Path, database: Path, tmp_path: Path) -> None:
    path = made.write_csv(tmp_path / "r.csv")
    (file,) = imported(suite, path, *ACC)["files"]
    fingerprint, environment, spec = rows(
        database, "SELECT fingerprint, environment_id, spec::VARCHAR FROM trials WHERE arm = 'adamp' AND seed = 3"
    )[0]
    message = json.loads(spec)["imported"]
    assert (fingerprint, environment) == ("imported", "imported")
    assert message["file"] == str(path)
    assert message["sha256"] == file["sha256"]
    assert message["row"] == f"{path}:9"
    assert message["mapping"]["metrics"] == {"acc": {"metric": "accuracy"}, "loss": {"metric": "loss"}}
    assert message["at"]


def test_a_failed_row_is_a_failed_trial_and_imported_once(
    suite: Path, database: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = made.rows()
    table[0]["acc"] = "nan"
    path = made.write_csv(tmp_path / "r.csv", table)
    assert call("import", path, "--suite", suite, *ACC) == 0
    text = capsys.readouterr().out
    assert f"failed: digits/adam/0: accuracy on test is empty or NaN ({path}:2)" in text
    assert "1 without a score" in text
    assert rows(database, "SELECT status, count(*) FROM trials GROUP BY ALL ORDER BY ALL") == [
        ("done", 11),
        ("failed", 1),
    ]
    assert imported(suite, path, *ACC)["files"][0]["stored"] == 12
    message = verdict(claims(suite, "--imported", "only"))
    assert message["n"] == made.SEEDS - 1
    assert message["design"]["numbers"]["failed"] == 1


MIXED = """
suite: tiny
arms:
  base: {role: baseline, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: base}}
  better: {role: method, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: better, effect: 3.0}}
benchmarks:
  known:
    task: synthetic
    metrics: {score: {unit: points, better: higher}}
    data: {name: nothing}
    model: {name: scalar}
    recipe: {steps: 4, own_sd: 0.3}
  elsewhere: {task: imported, metrics: {score: {unit: points, better: higher}}}
compare:
  - {id: here, benchmarks: [known], arm: better, against: [base], metric: score, primary: true}
  - {id: there, benchmarks: [elsewhere], arm: better, against: [base], metric: score, primary: true}
"""


def foreign(path: Path, gain: float, benchmark: str = "known", arms: Sequence[str] = ("base", "better")) -> Path:
    table = [
        {
            "benchmark": benchmark,
            "arm": arm,
            "seed": seed,
            "score": 10 + seed + made.score("adam", seed) / 100 + (gain + 0.01 * seed if arm == "better" else 0),
        }
        for seed in range(3)
        for arm in arms
    ]
    return made.write_csv(path, table)


@pytest.fixture
def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite with a benchmark that runs and one that does not; the first one has run."""
    monkeypatch.chdir(tmp_path)
    path = made.write_suite(tmp_path, MIXED, "tiny.yaml")
    assert call("run", path, "--executor", "inline", "--quiet", "--no-report") == 0
    return path


def test_imported_and_own_trials_never_mix(
    mixed: Path, database: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = claims(mixed)
    own = verdict(before, "here")
    imported(mixed, foreign(tmp_path / "bad.csv", -5.0))
    capsys.readouterr()
    assert call("claims", mixed, "--format", "json") == 0
    text = capsys.readouterr()
    after = verdict(json.loads(text.out)[0], "here")
    for key in ("verdict", "n", "difference", "ci_low", "ci_high", "p", "adjusted_p"):
        assert after[key] == own[key], key
    assert not after["design"]["changed"]
    assert not after["design"]["imported"]
    assert "6 imported trials are not used" in text.err
    assert "made by other code" not in text.err
    only = verdict(claims(mixed, "--imported", "only"), "here")
    assert (only["protocol"], only["n"]) == ("imported", 3)
    assert only["difference"] == pytest.approx(-4.99)
    again = verdict(claims(mixed), "here")
    assert (again["verdict"], again["difference"]) == (own["verdict"], own["difference"])
    stored = rows(database, "SELECT DISTINCT protocol FROM verdicts ORDER BY ALL")
    assert stored == [("imported",), ("published",)]
    sides = rows(
        database,
        "SELECT count(*) FROM verdict_trials JOIN trials USING (trial_id) "
        "WHERE (protocol = 'published') = (fingerprint = 'imported')",
    )
    assert sides == [(0,)], "verdicts on imported and on own trials share no trial"


def test_a_run_after_an_import_reuses_its_own_trials_alone(
    mixed: Path, database: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for gain, reused in ((-5.0, 0), (-4.0, 0), (-5.0, 6)):
        imported(mixed, foreign(tmp_path / "bad.csv", gain))
        latest = "(SELECT run_id FROM runs ORDER BY started_at DESC LIMIT 1)"
        assert rows(database, f"SELECT count_if(reused) FROM run_trials WHERE run_id = {latest}") == [(reused,)]
    capsys.readouterr()
    assert call("run", mixed, "--executor", "inline", "--quiet", "--no-report", "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert (run["trials"], run["reused"]) == (6, 6)
    assert call("verify", mixed, "--executor", "inline", "--quiet", "--sample", "1") == 0
    assert "of 6 ran again" in capsys.readouterr().out


def test_an_edited_file_stands_in_the_place_of_what_it_was(suite: Path, tmp_path: Path) -> None:
    path = made.write_csv(tmp_path / "r.csv")
    first = imported(suite, path, *ACC)["files"][0]["sha256"]
    made.write_csv(path, made.rows(4))
    second = imported(suite, path, *ACC)["files"][0]["sha256"]
    message = verdict(claims(suite, "--imported", "only"))
    assert message["n"] == 4
    assert [file["sha256"] for file in message["design"]["imported"]] == [second]
    made.write_csv(path)
    file = imported(suite, path, *ACC)["files"][0]
    assert (file["sha256"], file["new"], file["stored"]) == (first, 0, 12)
    assert verdict(claims(suite, "--imported", "only"))["n"] == made.SEEDS


def test_another_mapping_of_a_file_adds_cells_or_stands_in_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    suite = made.write_suite(tmp_path, made.TWO, "two.yaml")
    table = [{"set": name, "acc2": 50.0 + row["seed"], **row} for name in ("A", "B") for row in made.rows(3)]
    path = made.write_csv(tmp_path / "r.csv", table)
    for name, benchmark in (("A", "digits"), ("B", "letters")):
        assert imported(suite, path, "--where", f"set={name}", "--benchmark", benchmark, *ACC)["files"][0]["new"] == 6
    both = verdict(claims(suite, "--imported", "only"))
    assert {entry["benchmark"]: entry["n"] for entry in both["design"]["per_benchmark"]} == {"digits": 3, "letters": 3}
    again = ("--where", "set=B", "--benchmark", "letters", "--metric", "acc2=accuracy")
    assert imported(suite, path, *again)["files"][0]["new"] == 6
    message = verdict(claims(suite, "--imported", "only"))
    means = {entry["benchmark"]: entry["baseline_mean"] for entry in message["design"]["per_benchmark"]}
    assert means["letters"] == 51.0
    assert means["digits"] == pytest.approx(sum(made.score("adam", seed) for seed in range(3)) / 3)
    assert len(message["design"]["imported"]) == 2


def test_two_tables_of_a_database_are_two_sources(suite: Path, tmp_path: Path) -> None:
    csv = made.write_csv(tmp_path / "r.csv")
    with duckdb.connect(tmp_path / "r.duckdb") as db:
        for arm in ("adam", "adamp"):
            db.execute(f"CREATE TABLE of_{arm} AS FROM '{csv}' WHERE optimizer = '{arm}'")
    for arm in ("adam", "adamp"):
        (file,) = imported(suite, tmp_path / "r.duckdb", "--table", f"of_{arm}", *ACC)["files"]
        assert (file["new"], file["file"]) == (6, f"{tmp_path / 'r.duckdb'}[of_{arm}]")
    message = verdict(claims(suite, "--imported", "only"))
    assert message["n"] == made.SEEDS
    assert len(message["design"]["imported"]) == 2


def test_two_files_in_one_cell_are_told(suite: Path, tmp_path: Path) -> None:
    whole = made.rows()
    made.write_csv(tmp_path / "a.csv", whole[:6])
    made.write_csv(tmp_path / "b.csv", whole[4:])
    assert len(imported(suite, tmp_path / "a.csv", tmp_path / "b.csv", *ACC)["files"]) == 2
    message = verdict(claims(suite, "--imported", "only"))
    assert message["n"] == made.SEEDS
    text = " ".join(message["design"]["warnings"])
    assert "digits/adam is of 2 files: imported from" in text
    assert f"digits/adam: seed 2 stands in {tmp_path / 'a.csv'} too, imported before" in text


def test_labels_in_the_terminal_and_on_every_page(
    suite: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made.write_mlruns(tmp_path / "mlruns")
    imported(suite, "mlruns", "--metric", "val/acc=accuracy")
    assert call("claims", suite, "--imported", "only") == 0
    message = capsys.readouterr().out
    assert "mine at mini, imported results only" in message
    assert LABEL.search(message)
    assert "accuracy from 'val/acc'" in message
    assert call("report", suite, "--imported", "only") == 0
    index = Path(capsys.readouterr().out.strip())
    assert index.parent.name == "report-imported"
    pages = {page.relative_to(index.parent).as_posix(): page.read_text() for page in index.parent.rglob("*.html")}
    assert len(pages) >= 4
    for name, text in pages.items():
        assert LABEL.search(text), name
    (page,) = [text for name, text in pages.items() if name.startswith("suites/mine/mini-imported-only/index")]
    assert "<b>Warning:</b> imported from mlruns (sha256" in page
    assert "imported results" in page
    assert call("report", suite, "--imported", "only", "--single-file", "--out", tmp_path / "one") == 0
    assert LABEL.search((tmp_path / "one" / "index.html").read_text())


def test_pages_of_own_trials_say_nothing_of_imports(
    mixed: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    imported(mixed, foreign(tmp_path / "bad.csv", -5.0))
    claims(mixed, "--imported", "only")
    assert call("report", mixed) == 0
    index = Path(capsys.readouterr().out.strip())
    assert index.parent.name == "report"
    for page in index.parent.rglob("*.html"):
        assert not LABEL.search(page.read_text()), page
        assert "harness import" not in re.sub(r"<footer.*", "", page.read_text(), flags=re.DOTALL), page
    (suite_page,) = index.parent.glob("suites/tiny/mini/index.html")
    assert "−4.99" not in suite_page.read_text()
    assert call("export", "--to", "markdown", tmp_path / "tables") == 0
    table = (tmp_path / "tables" / "tiny-mini-score.md").read_text()
    assert "(n = 3)" in table, "three trials, not six"
    assert "−4.99" not in table


def test_runs_trials_and_reports_of_a_database_with_imports_alone(
    suite: Path, database: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    imported(suite, made.write_csv(tmp_path / "r.csv"), *ACC)
    assert call("report") == 2
    assert "'harness report mine --imported only' for imported results" in capsys.readouterr().err
    assert call("report", "mine", "--imported", "only", "--out", tmp_path / "pages") == 0
    capsys.readouterr()
    assert call("list", "trials", "--json") == 0
    assert {row["imported_from"] for row in json.loads(capsys.readouterr().out)} == {str(tmp_path / "r.csv")}
    trial = rows(database, "SELECT trial_id FROM trials LIMIT 1")[0][0]
    assert call("show", trial[:12]) == 0
    assert str(tmp_path / "r.csv") in capsys.readouterr().out


def test_a_benchmark_of_imported_results_is_valid_and_does_not_run(
    suite: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("validate", suite) == 0
    assert "valid; 1 benchmark, 2 arms, 1 claim" in capsys.readouterr().out
    assert call("run", suite) == 2
    text = capsys.readouterr().err
    assert "nothing to run: the results of 'digits' come from elsewhere" in text
    assert f"'harness import FILE --suite {suite}'" in text
    assert not database.exists()
    assert call("plan", suite) == 0
    assert "digits: its results are imported" in capsys.readouterr().out


def test_arms_of_an_imported_benchmark_may_say_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arms = "{adam: {values: {lr: 1}}, adamp: {optimizer: adamp, set: {x: 2}}}"
    assert call("validate", made.write_suite(tmp_path, made.SUITE.replace("{adam: {}, adamp: {}}", arms))) == 0
    mistaken = made.SUITE.replace("task: imported,", "task: imported, recipe: {x: 2},")
    assert call("validate", made.write_suite(tmp_path, mistaken)) == 2
    assert "unknown recipe key 'x'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected_text"),
    [
        (("claims", "SUITE", "--imported", "only"), "there is no database"),
        (("claims", "--imported", "only"), "--imported requires the name of a suite"),
        (("report", "--imported", "only"), "--imported requires the name of a suite"),
        (("import", "none.csv", "--suite", "SUITE"), "no file or folder none.csv"),
        (("import", "r.csv", "--suite", "nosuch"), "no suite file 'nosuch'"),
        (("import", "r.csv", "--suite", "SUITE", "--scale", "paper"), "no benchmark of 'mine' has the scale 'paper'"),
        (("import", "r.csv", "--suite", "SUITE", "--map", "none.yaml"), "no file none.yaml (--map)"),
        (("import", "r.csv", "--suite", "SUITE"), "none of its numbers has the name of a metric"),
    ],
)
def test_messages(
    suite: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: Sequence[str], expected_text: str
) -> None:
    table = [{"optimizer": arm, "seed": seed, "acc": 80.0} for arm, seed in made.each(2)]
    made.write_csv(tmp_path / "r.csv", table)
    assert call(*(str(suite) if word == "SUITE" else word for word in arguments)) == 2
    text = capsys.readouterr().err
    assert expected_text in text
    assert "Traceback" not in text


def test_nothing_imported_at_this_scale(suite: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    imported(suite, made.write_csv(tmp_path / "r.csv"), *ACC)
    for flags, message in (
        (("--scale", "smoke"), "nothing is imported for 'mine' at the scale 'smoke'"),
        (("--benchmark", "digit"), "no benchmark 'digit' in this suite; did you mean 'digits'?"),
        (("--arm", "sgd"), "no arm 'sgd' in this suite; valid: adam, adamp"),
    ):
        assert call("claims", suite, "--imported", "only", *flags) == 2
        assert message in capsys.readouterr().err


def test_results_for_a_shipped_suite_at_paper_scale(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its data need not be here: nothing is planned or run."""
    monkeypatch.chdir(tmp_path)
    table = [
        {"arm": arm, "seed": seed, "top1-accuracy": 71 + seed / 10 + (0.9 + seed / 100 if arm == "nkd" else 0)}
        for seed in range(3)
        for arm in ("kd", "nkd")
    ]
    path = made.write_csv(tmp_path / "r.csv", table)
    flags = ("--benchmark", "imagenet-resnet18", "--scale", "paper")
    assert call("import", path, "--suite", "nkd", *flags, "--format", "json") == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert file["new"] == 6
    message = claims(Path("nkd"), "--imported", "only", *flags)
    resting = [item for item in message["verdicts"] if item["design"].get("imported")]
    assert resting
    assert all(any(LABEL.match(text) for text in item["design"]["warnings"]) for item in resting)
    assert all(item["stand_in"] == [] for item in resting), "the paper's scale was requested"


def test_imported_folds_are_judged_by_the_resampled_test(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gains = [0.7, 2.1, 1.4, 0.5, 1.9]
    table = [
        {"arm": arm, "fold": fold, "accuracy": 80 + fold + gain * (arm == "adamp")}
        for fold, gain in enumerate(gains)
        for arm in ("adam", "adamp")
    ]
    path = made.write_csv(tmp_path / "folds.csv", table)
    assert call("import", path, "--suite", suite) == 2
    with monkeypatch.context() as former:  # stored before a statement was needed
        former.setattr(trials, "pairing_ratio", lambda *_, **__: 0.0)
        imported(suite, path)
    before = verdict(claims(suite, "--imported", "only"))
    assert any(text.startswith("'fold' pairs the results, taken as") for text in before["design"]["warnings"])
    p = {}
    for flags in (["--independent"], ["--resampled", "k-fold"], ["--resampled", "1.5"]):
        imported(suite, path, *flags)
        answer = verdict(claims(suite, "--imported", "only"))
        p[" ".join(flags)] = answer["p"]
        shown = [text for text in answer["design"]["warnings"] if text.startswith(("corrected resampled", "'fold'"))]
        assert len(shown) == (flags[0] == "--resampled")
    sd, mean = statistics.stdev(gains), statistics.fmean(gains)
    for name, ratio in (("--independent", 0.0), ("--resampled k-fold", 0.25), ("--resampled 1.5", 1.5)):
        assert p[name] == pytest.approx(2 * t.sf(mean / (sd * (1 / 5 + ratio) ** 0.5), 4))
