"""``harness.open``: tables of one plan, never pooled; unknown names are reported with the valid ones."""

from pathlib import Path
from typing import Any

import pytest
from store_support import outcome_line, planned_line, run_line, trial_row

import harness
from harness.errors import HarnessError
from harness.store import Writer
from harness.store.deletion import DeletedEvent
from harness.store.events import ClaimsEvent, TaggedEvent, VerdictsEvent, read_event


def scored(trial: str, value: float, **parts: Any) -> dict[str, Any]:
    numbers = [
        {"split": split, "metric": "top1-accuracy", "value": value - (split == "test")}
        for split in ("validation", "test")
    ]
    return outcome_line(trial, results=numbers, **parts)


def run(number: int, suite: str, trials: dict[str, tuple[str, int]], scale: str = "mini") -> list[dict[str, Any]]:
    """Lines of a run with trials of arms and seeds."""
    name = f"run-{number}"
    rows = [trial_row(trial, suite=suite, arm=arm, seed=seed, scale=scale) for trial, (arm, seed) in trials.items()]
    links = [
        {"trial_id": trial, "benchmark": "digits", "arm": arm, "reused": False} for trial, (arm, _) in trials.items()
    ]
    began = run_line(name, suite=suite, scale=scale, started_at=f"2026-01-0{number}T00:00:00Z")
    return [began, planned_line(name) | {"trials": rows, "links": links}]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A debugging recipe first, then the right one; another suite, another scale, and a search's configuration."""
    path = tmp_path / "h.duckdb"
    debugged = {"d0": ("adamp", 0), "d1": ("adam", 0)}
    right = {"p0": ("adamp", 0), "p1": ("adamp", 1), "a0": ("adam", 0), "a1": ("adam", 1), "s0": ("adamp#3", 10000)}
    lines = [*run(1, "one", debugged), *run(2, "one", right), *run(3, "two", {"o0": ("adamp", 0)})]
    lines += run(4, "one", {"small": ("adamp", 0)}, "small")
    lines += run(5, "one", {"a0": ("adam", 0), "a1": ("adam", 1)})
    names = ("d0", "d1", "p0", "p1", "a0", "a1", "s0", "o0", "small")
    scores = dict(zip(names, (5.0, 6.0, 77.0, 78.0, 75.0, 76.0, 99.0, 50.0, 60.0), strict=True))
    design = {"arm": "adamp", "against": ["adam"]}
    with Writer(path) as owner:
        for line in [*lines, *(scored(trial, value) for trial, value in scores.items())]:
            owner.record(read_event({"v": 1, **line}))
        owner.record(TaggedEvent("run-1", ["debug"]))
        for suite, word in (("one", "direction confirmed"), ("two", "inconclusive")):
            owner.record(ClaimsEvent(suite, [{"claim_id": "k"}, {"claim_id": "open"}]))
            row = {"claim_id": "k", "n": 2, "verdict": word, "difference": 2.0, "design": design}
            owner.record(VerdictsEvent([row, {"claim_id": "gone", "verdict": "inconclusive"}], [], [], suite, "mini"))
    return path


def values(frame: Any) -> list[Any]:
    return [tuple(row) for row in frame[["benchmark", "arm", "seed", "value"]].itertuples(index=False)]


def test_each_cell_is_of_the_newest_run_that_asked_for_it(store: Path) -> None:
    with harness.open(store) as db:
        result = db.results(suite="one", scale="mini", metric="top1-accuracy", split="test")
        assert values(result) == [
            ("digits", "adam", 0, 74.0),
            ("digits", "adam", 1, 75.0),
            ("digits", "adamp", 0, 76.0),
            ("digits", "adamp", 1, 77.0),
        ]
        assert list(result["run_id"]) == ["run-5", "run-5", "run-2", "run-2"]
        expected = [("digits", "adam", 0, 5.0), ("digits", "adamp", 0, 4.0)]
        assert values(db.results(run="debug", split="test")) == expected
        assert set(db.results()["suite"]) == {"one", "two"}
        assert set(db.trials(suite="one", arm="adamp", scale="mini")["trial_id"]) == {"p0", "p1"}
        assert list(db.trials(run="latest")["trial_id"]) == ["a0", "a1"]
        series = db.series("loss", suite="one", scale="mini", arm="adamp", seed=1)
        assert list(series["step"]) == [0, 1, 2]
        assert set(series["split"]) == {"train"}
        assert len(db.trials()) == 6


def test_a_configuration_whose_trials_are_deleted_does_not_fall_back_on_older_ones(store: Path) -> None:
    with Writer(store) as owner:
        owner.record(DeletedEvent("f", ["p0", "p1"]))
    with harness.open(store) as db:
        assert set(db.results(suite="one", scale="mini")["arm"]) == {"adam"}


def test_verdicts_are_the_newest_of_the_suites_claims(store: Path) -> None:
    with harness.open(store) as db:
        (row,) = db.verdicts("one", scale="mini").to_dict("records")
        expected = {"claim_id": "k", "verdict": "direction confirmed", "arm": "adamp", "against": "adam"}
        assert expected.items() <= row.items()
        assert db.verdicts("two")["verdict"].tolist() == ["inconclusive"]
        assert db.runs(suite="one")["tags"].map(list).tolist() == [[], [], [], ["debug"]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"suite": "on"}, "no suite 'on' here; did you mean 'one'"),
        ({"scale": "paper"}, "no scale 'paper' here; valid: mini, small"),
        ({"metric": "top1-acuracy"}, "did you mean 'top1-accuracy'"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"arm": "adamp#3"}, "no arm 'adamp#3'"),
        ({"seed": 7}, "no seed '7' here; valid: 0, 1"),
        ({"run": "none"}, "no run begins with 'none'"),
    ],
)
def test_a_name_that_nothing_has(store: Path, names: dict[str, Any], message: str) -> None:
    with harness.open(store) as db, pytest.raises(HarnessError, match=message):
        db.results(**names)


def test_names_that_do_not_meet_are_an_empty_table(store: Path) -> None:
    with harness.open(store) as db:
        assert db.results(suite="two", arm="adamp", scale="mini", seed=0).shape[0] == 2
        empty = db.results(suite="one", scale="small", arm="adam")
        assert empty.empty
        assert "value" in empty


def test_sql_only_reads(store: Path) -> None:
    with harness.open(store) as db:
        assert db.sql("SELECT count(*) AS n FROM trials WHERE suite = $s", {"s": "two"})["n"].tolist() == [1]
        for statement in ("DELETE FROM trials", "SELECT * FROM 'x.csv'", "SELECT 1; SELECT 2"):
            with pytest.raises(HarnessError):
                db.sql(statement)


def test_it_says_what_it_holds(store: Path) -> None:
    with harness.open(store) as db:
        runs = len(db.runs())
        assert repr(db) == f"<harness store {store}: {runs} runs, {len(db.sql('FROM trials'))} trials>"
        assert db._repr_html_().count("<tr") == runs + 1


def test_the_default_store_and_none(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DB", str(store))
    with harness.open() as db:
        assert db.path == store
    with pytest.raises(HarnessError, match="there is no database at"):
        harness.open(tmp_path / "none.duckdb")
