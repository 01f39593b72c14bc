"""Two runs side by side: causes first, then arms paired by seed; a regression is an exit code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store_support import event_of, outcome, planned_line, run_event
from tables_support import run, run_ids

from harness.cli.group import run_main
from harness.results.arm_changes import ArmChange, regressions
from harness.store import Writer
from harness.store.events import EnvironmentEvent


def diff(capsys: pytest.CaptureFixture[str], *more: object, code: int = 0) -> str:
    capsys.readouterr()
    assert run_main(["diff", *map(str, more)]) == code
    return capsys.readouterr().out


def diff_json(capsys: pytest.CaptureFixture[str], *more: object, code: int = 0) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(diff(capsys, *more, "--json", code=code))
    return result


@pytest.fixture(scope="module")
def two_effects(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two runs; in the second the effect of an arm is smaller."""
    folder = tmp_path_factory.mktemp("effects")
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    suite = folder / "tiny.yaml"
    suite.write_text(suite.read_text().replace("effect: 3.0", "effect: 2.0"))
    run(suite, "--db", folder / "results" / "harness.duckdb")
    return folder / "results" / "harness.duckdb"


@pytest.fixture
def effects(two_effects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These results, as the default database."""
    monkeypatch.setenv("HARNESS_DB", str(two_effects))


@pytest.mark.usefixtures("effects")
def test_the_recipe_is_named_first_then_the_arm_that_changed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = diff(capsys, "previous", "latest")
    assert shown.splitlines()[1] == "recipe  recipe.effect: 3.0 → 2.0 (known/better)"
    assert "the same: code, environment" in shown
    assert "mechanism" not in shown
    assert "known/base" not in shown
    result = diff_json(capsys, "previous", "latest")
    assert [result["first"], result["second"]] == run_ids(capsys)
    assert (result["shared_trials"], result["only_first"], result["only_second"]) == (3, 3, 3)
    assert [verdict["claim_id"] for verdict in result["verdicts"]] == ["tiny-better"]
    (score,) = [row for row in result["cells"] if row["metric"] == "score"]
    assert (score["arm"], score["split"], score["n"]) == ("better", "test", 3)
    assert (score["difference"], score["low"]) == pytest.approx((-1.0, -1.0))
    assert {row["split"] for row in result["cells"]} == {"test"}
    everything = diff_json(capsys, "previous", "latest", "--all")
    assert {row["split"] for row in everything["cells"]} == {"test", "validation"}
    diff(capsys, "nothing", "latest", code=2)


def test_another_request_is_named(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ran, "--set", "level=40", "--seeds", 2)
    lines = diff(capsys, "previous", "latest").splitlines()
    assert lines[1] == "request  --set: (nothing) → level=40"
    assert "recipe  recipe.level: 50.0 → 40 (known/base, known/better)" in lines
    assert "configurations  seeds: 0–2 → 0, 1 (known/base, known/better)" in lines


def test_a_changed_implementation_is_named_as_code(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], harness: Callable[..., Any]
) -> None:
    file = tmp_path / "my.py"
    own = (
        "import torch\n\n\nclass MySGD(torch.optim.SGD):\n    def __init__(self, params, lr=0.1):\n"
        "        super().__init__(params, lr=lr{})\n"
    )
    for more in ("", ", momentum=0.5"):
        file.write_text(own.format(more))
        arms = ("--arm", f"mine={file}:MySGD", "--arm", "base")
        done = harness("run", tiny, *arms, "--seeds", 1, "--executor", "inline", "--no-report", "--quiet")
        assert done.returncode == 0, done.stderr
    result = diff_json(capsys, "previous", "latest")
    (code,) = [change for change in result["code"] if change["key"] == "fingerprint"]
    assert code["cells"] == ["known/mine"]
    assert code["first"] != code["second"]
    assert result["recipe"] == []
    assert "code  fingerprint: " in diff(capsys, "previous", "latest")


def test_versions_and_commits_are_named(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Writer(database) as owner:
        for number, version in enumerate(("2.9.0", "2.10.0"), 1):
            info = {"python": "3.12", "packages": {"torch": version, "numpy": "2"}, "class": {"torch": version}}
            owner.record(EnvironmentEvent(f"e{number}", info))
            commit = {"git_commit": str(number) * 40, "git_dirty": number == 2, "environment_id": f"e{number}"}
            owner.record(run_event(f"r{number}", started_at=f"2026-01-0{number}T00:00:00", **commit))
            owner.record(event_of(planned_line(f"r{number}", f"t{number}")))
            owner.record(outcome(f"t{number}", environment_id=f"e{number}", run_id=f"r{number}"))
    lines = diff(capsys, "r1", "r2").splitlines()
    assert "code  git commit: 1111111111 → 2222222222+" in lines
    assert "environment  packages.torch: 2.9.0 → 2.10.0" in lines
    assert not [line for line in lines if "numpy" in line or "class.torch" in line]


@pytest.mark.usefixtures("effects")
def test_a_regression_above_a_size_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = run_ids(capsys)
    more = ("--metric", "score")
    shown = diff(capsys, first, second, "--regression", 0.5, *more, code=1)
    assert "REGRESSION  known/better score (−1.000): the whole interval is worse by more than 0.5" in shown
    assert "6 pairs of seeds compared" in shown
    assert "no regression: score: 6 pairs" in diff(capsys, first, second, "--regression", 1.5, *more)
    assert "no regression" in diff(capsys, second, first, "--regression", 0.5, *more), "a higher score is better"
    assert diff_json(capsys, second, first, "--regression", 0.5, "--better", "lower", *more, code=1)["regressions"]
    assert "no regression" in diff(capsys, first, first, "--regression", 0, *more), "the same trials"


def test_a_regression_without_metric_or_direction_is_wrong_usage(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ran, "--seeds", 1, "--set", "steps=5")
    for more, message in (
        ((), "--regression requires --metric"),
        (("--metric", "scor"), "did you mean 'score'"),
        (("--metric", "distance"), "Say --better higher or --better lower"),
    ):
        capsys.readouterr()
        assert run_main(["diff", "previous", "latest", "--regression", "1", *more]) == 2
        assert message in capsys.readouterr().err


def test_a_lost_score_is_a_regression(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ran, "--set", "diverges_above=0.05")
    shown = diff(capsys, "previous", "latest", "--regression", 100, "--metric", "score", code=1)
    assert "known/better score: 3 of 3 seeds have no score any more" in shown


def change(*differences: float, low: float | None, high: float | None, better: str = "higher") -> ArmChange:
    n = len(differences)
    mean = sum(differences) / n
    return ArmChange("b", "a", "test", "m", "", better, 1.0, 1.0 + mean, n, n, n, mean, low, high, 0, differences)


@pytest.mark.parametrize(
    ("changed", "worse"),
    [
        (change(-2, -2.2, low=-3.4, high=-0.8), True),  # every pair, though the interval reaches less
        (change(-2, -0.5, low=-9, high=7), False),  # the mean alone is not enough
        (change(-2, -1.9, -2.1, low=-2.3, high=-1.7), True),
        (change(-2, low=None, high=None), True),  # one pair
        (change(-0.5, low=None, high=None), False),
        (change(2, 2.2, low=0.8, high=3.4), False),
        (change(2, 2.2, low=0.8, high=3.4, better="lower"), True),
    ],
)
def test_an_interval_or_every_pair_must_say_so(changed: ArmChange, worse: bool) -> None:
    regressed = regressions([changed], 1.0, "m")
    assert bool(regressed) is worse
    if worse and changed.low is None:
        assert regressed[0].reason == "the one pair is worse by more than 1"
    assert not regressions([changed], 10.0, "m")


def test_runs_that_share_nothing_say_so(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tiny, "--arm", "base", "--seeds", 1)
    run(tiny, "--arm", "better", "--seeds", 1)
    shown = diff(capsys, "previous", "latest")
    assert "no configuration and seed in common" in shown
    assert "the same: " not in shown
    diff(capsys, "previous", "latest", "--regression", 1, "--metric", "score", code=2)
