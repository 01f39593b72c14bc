"""The tuned protocol on the command line: two arms of a known suite differ in rates alone."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from harness.cli.group import run_main
from harness.store import open_reader

Command = Callable[..., str]

TUNED = """
tuned:
  budget: 4
  seeds: 2
  judged: 1
  spaces: {"*": {optimizer.lr: {factors: [0.111, 0.333, 1.0, 3.0]}}}
"""

STARTED = "SELECT trial_id, started_at::VARCHAR FROM trials"


@pytest.fixture
def misset(tiny: Path) -> Path:
    """A baseline whose rate is nine times the best."""
    text = (
        tiny.read_text()
        .replace("own_sd: 0.3}", "own_sd: 0.05, curvature: 4.0, pair_sd: 0.1}")
        .replace("steps: 20", "steps: 2")
        .replace("effect: 3.0", "effect: 0.0")
        .replace("{name: sgd, lr: 0.1}, set: {noise_key: base}", "{name: sgd, lr: 0.9}, set: {noise_key: base}")
    )
    tiny.write_text(text + TUNED)
    return tiny


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line in this process; what it prints."""

    def call(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        assert run_main([str(argument) for argument in arguments]) == code
        return capsys.readouterr().out

    return call


def run(command: Command, suite: Path, *more: str, code: int = 0) -> dict[str, Any]:
    printed = command("run", suite, "--executor", "inline", "--no-report", "--json", *more, code=code)
    result: dict[str, Any] = json.loads(printed.splitlines()[-1])["runs"][0]
    return result


def by_protocol(verdicts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    result = {verdict["protocol"]: verdict for verdict in verdicts if verdict["claim_id"] == "tiny-better"}
    assert len(result) == len(verdicts)
    return result


def test_an_effect_of_an_untuned_baseline_is_gone_when_both_are_tuned(
    misset: Path, database: Path, command: Command
) -> None:
    ran = run(command, misset)
    verdicts = by_protocol(ran["verdicts"])
    published, tuned = verdicts["published"], verdicts["tuned"]
    assert published["verdict"] == "direction confirmed"
    assert published["difference"] > 3
    assert abs(tuned["difference"]) < 0.3
    assert tuned["verdict"] != "direction confirmed"
    assert (tuned["n"], tuned["design"]["look"]) == (3, 3), "a pair is a search"
    searches = tuned["design"]["tuning"]["known"]
    assert len({search["sweep_id"] for search in searches}) == 3
    for search in searches:
        assert search["told"] == {"better": 5, "base": 5}, "the baseline's end extends the grid of both"
        assert search["chosen"] == {"better": {"optimizer.lr": 0.1}, "base": {"optimizer.lr": 0.1}}
        assert search["ends"] == {}, "what was an end has a neighbour"
    assert (tuned["design"]["multiplicity"]["family"], len(tuned["design"]["test"]["p"])) == ("primary", 1)

    curve = published["design"]["rate_curve"]
    assert [(entry["rates"]["known"]["base"], entry["holds"]) for entry in curve] == [
        (0.1, False),
        (0.3, False),
        (0.9, True),
        (2.7, True),
    ]
    assert {entry["n"] for entry in curve} == {3}

    with open_reader(database) as reader:
        seeds = reader.query("SELECT DISTINCT seed >= 10000 FROM trials JOIN verdict_trials USING (trial_id)").rows
        assert seeds == [(False,)], "what is judged was not tuned on"
        assert reader.query("SELECT status, budget, count(*) FROM sweeps GROUP BY ALL ORDER BY 2").rows == [
            ("done", 1, 3),
            ("done", 4, 3),
        ]
        rows = reader.query("SELECT protocol, count(*) FROM verdict_trials GROUP BY 1 ORDER BY 1").rows
        assert rows == [("published", 6), ("tuned", 6)]

    again = run(command, misset)
    assert again["reused"] == sum(again["counts"].values()), "the second run runs nothing"


def test_a_single_search_is_conditional_and_no_verdict(misset: Path, command: Command) -> None:
    text = misset.read_text().replace("effect: 0.0", "effect: 3.0")
    misset.write_text(text.replace("  judged: 1\n", "  searches: 1\n"))
    tuned = by_protocol(run(command, misset, "--seeds", "6")["verdicts"])["tuned"]
    assert (tuned["verdict"], tuned["n"], tuned["adjusted_p"]) == ("conditional", 6, None)
    assert tuned["ci_low"] > 2.5, "the effect is shown"
    assert tuned["design"]["reason"].startswith("conditional on these hyper-parameters")
    assert (tuned["design"]["look"], tuned["design"]["test"]) == (None, None)
    assert {entry["verdict"] for entry in tuned["design"]["per_benchmark"]} == {"conditional"}
    assert "conditional" in command("claims", misset)
    misset.write_text(misset.read_text().replace("  searches: 1\n", "  judged: 2\n"))
    tuned = by_protocol(run(command, misset, "--seeds", "6")["verdicts"])["tuned"]
    assert (tuned["verdict"], tuned["n"], tuned["sequential"]) == ("direction confirmed", 3, False)
    assert set(tuned["design"]["per_benchmark"][0]["differences"]) == {"0", "1", "2"}


def test_an_arm_that_its_search_made_worse_is_reported(misset: Path, command: Command) -> None:
    wrong = "  benchmarks: {known: {selection_metric: score, selection_better: lower}}\n"
    misset.write_text(misset.read_text() + wrong)
    tuned = by_protocol(run(command, misset)["verdicts"])["tuned"]
    (first, second) = tuned["design"]["warnings"]
    assert first.startswith("better on known: score ")
    assert second.startswith("base on known: score ")
    assert second.endswith("with the recipe's values; its search made it worse")
    ends = [search["ends"] for search in tuned["design"]["tuning"]["known"]]
    assert {end for each in ends for arm in each.values() for end in arm.values()} <= {"least", "largest"}
    assert all(each["told"]["base"] == 6 for each in tuned["design"]["tuning"]["known"]), "two extensions at most"
    assert "its search made it worse" in command("claims", misset).replace("\n", " ")


def test_claims_show_both_protocols_in_one_line_and_run_nothing(misset: Path, command: Command) -> None:
    run(command, misset, "--no-tuned")
    before = command("claims", misset)
    assert "tuned" not in before
    run(command, misset)
    shown = command("claims", misset)
    (line,) = [line for line in shown.splitlines() if "direction confirmed" in line]
    assert "confirmed at 2 of 4" in line
    (chosen,) = [line for line in shown.splitlines() if "lr 0.1" in line]
    assert chosen.startswith("tiny-better")
    judged = json.loads(command("claims", misset, "--format", "json"))[0]["verdicts"]
    assert set(by_protocol(judged)) == {"published", "tuned"}


def test_the_plan_counts_what_tuning_will_run(misset: Path, command: Command) -> None:
    (base, better) = json.loads(command("plan", misset, "--json"))["tuned"]
    assert {base["arm"], better["arm"]} == {"base", "better"}
    assert (base["tuning_trials"], base["judged_trials"], base["rate_trials"], base["stored"]) == (24, 3, 9, 0)
    ran = run(command, misset)
    planned = json.loads(command("plan", misset, "--json"))
    assert [cell["stored"] for cell in planned["tuned"]] == [33, 33]
    # an extension of every grid, which depends on results, is not planned: one configuration of two seeds
    # the method chose its own configuration and the baseline one of the curve's: their trials are there already
    assert sum(ran["counts"].values()) == 6 + 2 * (33 + 3 * 2)
    assert "tuned" not in command("run", misset, "--dry-run", "--no-tuned")
    assert "tuned protocol" in command("run", misset, "--dry-run")


@pytest.mark.timeout(600)
def test_a_killed_run_goes_on_and_reruns_nothing(
    misset: Path, database: Path, command: Command, tmp_path: Path
) -> None:
    misset.write_text(misset.read_text().replace("steps: 2,", "steps: 2, step_seconds: 0.05,"))
    requested = [sys.executable, "-m", "harness", "run", str(misset), "--executor", "inline", "--no-report", "--quiet"]
    process = subprocess.Popen(requested, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    outcomes: dict[str, str] = {}

    def tuning() -> bool:
        """More trials are done than the six of the published protocol."""
        if database.exists() or any(database.parent.glob("*.journal*")):
            with open_reader(database) as reader:
                outcomes.update(reader.query(f"{STARTED} WHERE status = 'done'").rows)
        return len(outcomes) >= 16

    until(tuning)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 16 <= len(outcomes) < 40
    assert set(by_protocol(run(command, misset)["verdicts"])) == {"published", "tuned"}
    with open_reader(database) as reader:
        now = dict(reader.query(STARTED).rows)
        assert {trial: now[trial] for trial in outcomes} == outcomes
        assert reader.query("SELECT count(*) FROM events WHERE kind = 'duplicate'").rows == [(0,)]
        assert reader.query("SELECT arm, count(*) FROM sweep_points GROUP BY 1 ORDER BY 1").rows == [
            ("base", 15),
            ("better", 15),
        ]


def test_an_arm_that_no_configuration_trains_is_not_compared(misset: Path, command: Command) -> None:
    misset.write_text(misset.read_text().replace("noise_key: better,", "noise_key: better, diverges_above: 0.001,"))
    tuned = by_protocol(run(command, misset)["verdicts"])["tuned"]
    assert tuned["verdict"] == "invalid"
    assert tuned["design"]["reason"] == "no configuration of better on known ended with a score"


def test_a_rate_at_which_trials_diverge_counts_as_measured(misset: Path, command: Command) -> None:
    misset.write_text(misset.read_text().replace("noise_key: better,", "noise_key: better, diverges_above: 0.2,"))
    curve = by_protocol(run(command, misset)["verdicts"])["published"]["design"]["rate_curve"]
    assert [(entry["n"], entry["diverged"], entry["measured"]) for entry in curve] == [
        (3, 0, True),
        (3, 0, True),
        (3, 0, True),
        (0, 3, True),
    ]
    (line,) = [line for line in command("claims", misset).splitlines() if "direction confirmed" in line]
    assert "confirmed at 1 of 4" in line
