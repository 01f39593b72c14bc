"""Tables are of one plan: other recipes, sweep points, suites, scales and protocols are never pooled."""

import csv
import json
import statistics
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tables_support import rows, run, table_of

from harness.cli.group import run_main
from harness.errors import HarnessError
from harness.results.current import CurrentResult, ResultFilter, cell_trials, current_results
from harness.store import open_reader

AS_BEFORE = (
    "SELECT benchmark, arm, avg(value) AS mean, count(*) AS n FROM results JOIN trials USING (trial_id) "
    "WHERE metric = 'score' AND benchmark = 'known' GROUP BY ALL"
)
NOW = (
    "SELECT suite, scale, benchmark, arm, avg(value) AS mean, count(*) AS n FROM current_results "
    "WHERE metric = 'score' AND split = 'test' GROUP BY ALL"
)


@pytest.fixture
def mixed(mixed_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store, as the one that commands take."""
    monkeypatch.setenv("HARNESS_DB", str(mixed_store))
    return mixed_store


def scores(database: Path, **wanted: object) -> list[CurrentResult]:
    with open_reader(database) as reader:
        return current_results(reader, ResultFilter(metric="score", split="test", **wanted))  # type: ignore[arg-type]


def test_two_recipes_a_sweep_and_two_suites_never_pool(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pooled = {row["arm"]: row for row in rows(capsys, AS_BEFORE)}
    assert pooled["base"]["n"] > 3, "the query of before takes validation, other recipes, suites and scales together"
    result = {(row["suite"], row["scale"], row["arm"]): row for row in rows(capsys, NOW)}
    cells = {("tiny", "mini"): 3, ("tiny", "smoke"): 1, ("other", "mini"): 3}
    assert {key: row["n"] for key, row in result.items()} == {
        (*cell, arm): n for cell, n in cells.items() for arm in ("base", "better")
    }
    assert 45 < result["tiny", "mini", "base"]["mean"] < 55
    assert 85 < result["other", "mini", "base"]["mean"] < 95


def test_a_cell_has_one_recipe_and_one_code(mixed: Path) -> None:
    with open_reader(mixed) as reader:
        trials = cell_trials(reader)
        specs = dict(reader.query("SELECT trial_id, CAST(spec AS VARCHAR) FROM trials").rows)
    assert {(trial.suite, trial.protocol) for trial in trials} == {("tiny", "published"), ("other", "published")}
    assert not [trial for trial in trials if "#" in trial.arm or trial.arm.startswith("prerequisite")]
    contents: dict[tuple[str, ...], set[str]] = {}
    for trial in trials:
        plain = json.loads(specs[trial.trial_id])
        plain.pop("seed")
        cell = (trial.suite, trial.scale, trial.benchmark, trial.arm)
        contents.setdefault(cell, set()).add(json.dumps([plain, trial.fingerprint, trial.run_id], sort_keys=True))
    assert {len(each) for each in contents.values()} == {1}
    seeds = Counter((trial.suite, trial.scale, trial.arm, trial.seed) for trial in trials)
    assert set(seeds.values()) == {1}


def test_python_and_sql_and_files_say_the_same(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = "suite = 'tiny' AND scale = 'mini' AND metric = 'score' AND split = 'test'"
    sql = rows(capsys, f"FROM current_results WHERE {where}")
    result = scores(mixed, suite="tiny", scale="mini")
    assert sorted(row["value"] for row in sql) == sorted(item.value for item in result)
    arguments = ["--suite", "tiny", "--scale", "mini", "--metric", "score", "--split", "test"]
    assert run_main(["export", "--to", "csv", str(tmp_path / "csv"), *arguments]) == 0
    assert [path.name for path in (tmp_path / "csv").iterdir()] == ["current_results.csv"]
    with (tmp_path / "csv" / "current_results.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert {(row["arm"], row["seed"]): float(row["value"]) for row in written} == {
        (item.arm, str(item.seed)): item.value for item in result
    }
    assert run_main(["export", "--to", "parquet", str(tmp_path / "p"), *arguments, "--arm", "base"]) == 0
    assert pq.read_table(tmp_path / "p" / "current_results.parquet")["arm"].to_pylist() == ["base"] * 3
    assert run_main(["export", "--to", "parquet", str(tmp_path / "whole")]) == 0
    expected = rows(capsys, "SELECT count(*) AS n FROM trials")[0]["n"]
    assert pq.read_table(tmp_path / "whole" / "trials.parquet").num_rows == expected
    current, every = (pq.read_table(tmp_path / "whole" / f"{name}.parquet") for name in ("current_results", "results"))
    assert 0 < current.num_rows < every.num_rows


def test_without_a_suite_every_suite_and_scale_has_a_file(mixed: Path, tmp_path: Path) -> None:
    assert run_main(["export", "--to", "markdown", str(tmp_path / "md")]) == 0
    written = {path.name for path in (tmp_path / "md").iterdir()}
    assert written == {
        *(f"{place}-{what}.md" for place in ("tiny-mini", "tiny-smoke", "other-mini") for what in ("score", "verdicts"))
    }
    means = {(item.suite, item.scale, item.arm): item.value for item in scores(mixed) if item.scale == "smoke"}
    assert table_of(tmp_path / "md" / "tiny-smoke-score.md")["known"]["base"] == f"{means['tiny', 'smoke', 'base']:.2f}"
    base = [item.value for item in scores(mixed, suite="other") if item.arm == "base"]
    cell = table_of(tmp_path / "md" / "other-mini-score.md")["known"]["base"]
    mean, sd = (float(part) for part in cell.split(" ± "))
    assert mean == pytest.approx(statistics.fmean(base), abs=0.06)
    assert sd == pytest.approx(statistics.stdev(base), abs=0.06)


WRONG: list[tuple[dict[str, object], str]] = [
    ({"suite": "tinny"}, "no suite 'tinny'; did you mean 'tiny'"),
    ({"suite": "tiny", "scale": "paper"}, "no scale 'paper' among the results of suite 'tiny'; valid: mini"),
    ({"metric": "scor"}, "no metric 'scor'; did you mean 'score'"),
    ({"split": "tests"}, "no split 'tests'; did you mean 'test'"),
    ({"arms": ("bettr",)}, "no arm 'bettr'; did you mean 'better'"),
    ({"benchmarks": ("none",)}, "no benchmark 'none'; did you mean 'known'"),
    ({"run": "nothing"}, "no run begins with 'nothing'"),
    ({"run": "previous"}, "there is no run before"),
]


def test_a_name_that_is_not_stored_is_one_message(ran: Path, database: Path) -> None:
    with open_reader(database) as reader:
        for wanted, message in WRONG:
            with pytest.raises(HarnessError) as caught:
                current_results(reader, ResultFilter(**wanted))  # type: ignore[arg-type]
            assert message in str(caught.value)


def test_tuned_arms_and_rates_are_protocols_of_their_own(tiny: Path, database: Path) -> None:
    tiny.write_text(tiny.read_text() + "tuned: {budget: 2, seeds: 1, searches: 1, rates: {factors: [0.5, 1.0]}}\n")
    run(tiny)
    with open_reader(database) as reader:
        arms = {(trial.protocol, trial.arm) for trial in cell_trials(reader)}
    assert {arm for protocol, arm in arms if protocol == "published"} == {"base", "better"}
    assert {arm for protocol, arm in arms if protocol == "tuned"} == {"base-tuned", "better-tuned"}
    assert {arm for protocol, arm in arms if protocol == "rates"} == {
        f"{arm}-lr-{rate}" for arm in ("base", "better") for rate in ("0.05", "0.1")
    }


def test_sweeps_are_listed_beside_runs(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run_main(["list", "runs", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["kind"].split()[0] for row in listed] == ["run", "run", "sweep", "run", "run"]
    sweep = listed[2]
    (existing,) = rows(capsys, "SELECT sweep_id, status FROM sweeps")
    assert (sweep["run_id"], sweep["status"]) == (existing["sweep_id"], "done")
    assert (sweep["suite"], sweep["scale"], sweep["kind"]) == ("tiny", "mini", "sweep of base, better on known")
    (trials,) = rows(capsys, "SELECT count(DISTINCT trial_id) AS n FROM run_trials WHERE starts_with(run_id, 'sweep-')")
    assert sweep["trials"] == trials["n"] > 4
    assert run_main(["list", "runs", sweep["run_id"][:6] + "*"]) == 0
    assert "sweep of base, better" in " ".join(capsys.readouterr().out.split())
