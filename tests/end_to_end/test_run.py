"""The harness as a user runs it: real processes, real kills, the numbers compared to the last bit."""

import contextlib
import gzip
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

from harness.store import open_reader

Harness = Callable[..., "subprocess.CompletedProcess[str]"]


def last_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def results(database: Path) -> dict[tuple[str, str, str], float]:
    with open_reader(database) as reader:
        rows = reader.query("SELECT trial_id, split, metric, value FROM results").rows
    return {(trial, split, metric): value for trial, split, metric, value in rows}


def slow_suite(tiny: Path, pause: float, seeds: int) -> None:
    text = tiny.read_text().replace("own_sd: 0.3}", f"own_sd: 0.3, step_seconds: {pause}}}")
    tiny.write_text(text.replace("seeds: {min: 3", f"seeds: {{min: {seeds}"))


@pytest.mark.default
def test_a_run_ends_with_its_verdicts_and_the_reports_path(tiny: Path, database: Path, harness: Harness) -> None:
    done = harness("run", tiny, "--executor", "inline", fresh=True)
    assert done.returncode == 0, done.stderr
    index = Path(done.stdout.splitlines()[-1])
    assert index.is_file()
    assert index.name == "index.html"
    assert "tiny-better" in done.stdout
    assert len({trial for trial, _, _ in results(database)}) == 6


@pytest.mark.default
def test_the_second_run_runs_nothing_and_one_change_runs_its_trials(tiny: Path, command: Harness) -> None:
    arguments = ("run", tiny, "--executor", "inline", "--no-report", "--json")
    first = last_json(command(*arguments))["runs"][0]
    assert (first["trials"], first["reused"]) == (6, 0)
    assert last_json(command(*arguments))["runs"][0]["reused"] == 6
    tiny.write_text(tiny.read_text().replace("effect: 3.0", "effect: 2.5"))
    assert last_json(command(*arguments))["runs"][0]["reused"] == 3


@pytest.mark.default
def test_failures_are_told_and_the_rest_goes_on(tiny: Path, command: Harness, database: Path) -> None:
    tiny.write_text(tiny.read_text().replace("noise_key: base}", "noise_key: base, fails: true}"))
    done = command("run", tiny, "--executor", "inline", "--no-report")
    assert done.returncode == 1
    assert "this arm fails because" in done.stderr
    assert "Traceback" not in done.stderr
    with open_reader(database) as reader:
        counts = dict(reader.query("SELECT status, count(*) FROM trials GROUP BY 1").rows)
    assert counts == {"failed": 3, "done": 3}
    stopped = command("run", tiny, "--executor", "inline", "--no-report", "--fail-fast", "--json")
    assert stopped.returncode == 1
    assert "--fail-fast" in last_json(stopped)["runs"][0]["stopped"]


@pytest.mark.default
def test_missing_data_is_told_before_anything_runs(tmp_path: Path, harness: Harness) -> None:
    done = harness("run", "adamp", "--scale", "small", "--no-report", HARNESS_DATA=str(tmp_path / "nothing"))
    assert done.returncode == 2
    assert "harness data fetch" in done.stderr
    assert str(tmp_path / "nothing") in done.stderr


@pytest.mark.default
def test_a_method_of_ones_own(tmp_path: Path, tiny: Path, harness: Harness) -> None:
    (tmp_path / "my.py").write_text(
        "import torch\n\n\nclass MySGD(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=0.05, momentum=0.5):\n"
        "        super().__init__(params, lr=lr, momentum=momentum)\n"
    )
    arguments = ("run", tiny, "--arm", "mine=./my.py:MySGD", "--executor", "inline", "--no-report", "--json")
    first = last_json(harness(*arguments))["runs"][0]
    assert first["counts"] == {"done": 9}
    assert last_json(harness(*arguments))["runs"][0]["reused"] == 9
    file = tmp_path / "my.py"
    file.write_text(file.read_text().replace("momentum=0.5", "momentum=0.6"))
    assert last_json(harness(*arguments))["runs"][0]["reused"] == 6
    assert harness("run", tiny, "--arm", "mine=./my.py:Mine").returncode == 2


@pytest.mark.default
@pytest.mark.ray
def test_ray_and_inline_agree_to_the_last_bit(ran: Path, tmp_path: Path, database: Path, harness: Harness) -> None:
    other = tmp_path / "ray.duckdb"
    done = harness("run", ran, "--db", other, "--no-report", "--json")
    assert done.returncode == 0, done.stderr
    assert results(other) == results(database)
    assert len(results(other)) > 6


@pytest.mark.ray
def test_a_real_training_agrees_on_ray_and_inline(tmp_path: Path, harness: Harness) -> None:
    chosen = ("--benchmark", "places2", "--arm", "rn", "--seeds", "1", "--set", "steps=10")
    databases = [tmp_path / f"{executor}.duckdb" for executor in ("ray", "inline")]
    for database in databases:
        run = ("run", "region_norm", *chosen, "--db", database, "--no-report", "--executor", database.stem)
        assert harness(*run).returncode == 0
    assert results(databases[0]) == results(databases[1]) != {}


def start(tiny: Path, database: Path, *more: str, output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A run in a separate process group."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", str(tiny), "--no-report", "--quiet", "--db", str(database), *more],
        cwd=tiny.parent,
        stdout=output,
        stderr=output,
        start_new_session=True,
        env=dict(os.environ),
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.ray
@pytest.mark.parametrize("executor", ["ray", "inline"])
def test_a_schedulers_signal_ends_as_ctrl_c(tiny: Path, database: Path, executor: str) -> None:
    slow_suite(tiny, 0.05, seeds=8)
    process = start(tiny, database, "--executor", executor, output=subprocess.PIPE)
    until(lambda: outcomes_in_journal(database), "no trial ended")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 1
    assert b"interrupted; finished trials are stored" in err
    assert b"SIGTERM" not in out + err


def outcomes_in_journal(database: Path) -> dict[str, int]:
    """Count the `done` outcomes of each trial over all log segments."""
    counts: dict[str, int] = {}
    for file in sorted(database.with_name(database.name + ".journal").glob("*")):
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for line in content.splitlines(keepends=True):
            event = json.loads(line) if line.endswith(b"\n") else {"kind": "torn"}
            if event["kind"] == "outcome" and event["status"] == "done":
                counts[event["trial_id"]] = counts.get(event["trial_id"], 0) + 1
    return counts


def test_a_second_terminal_can_query_during_a_run(tiny: Path, database: Path, harness: Harness) -> None:
    slow_suite(tiny, 0.2, seeds=3)
    process = start(tiny, database, "--executor", "inline", "--seeds", "50")
    sql = "SELECT count(*) AS n FROM trials WHERE status = 'done'"

    def done() -> int:
        answer = harness("query", sql, "--format", "json", "--db", database)
        assert answer.returncode == 0, answer.stderr
        return int(json.loads(answer.stdout)[0]["n"])

    try:
        until(lambda: outcomes_in_journal(database))
        seen = [done(), done(), done()]
    finally:
        kill_group(process)
    assert 0 < seen[0] <= seen[1] <= seen[2] < 100


TEACHER = """        prerequisites:
          teacher:
            task: synthetic
            model: {name: scalar, start: 2.0}
            recipe: {steps: 10, slots: {optimizer: {name: sgd, lr: 0.1}}}
            always: true
"""


def test_a_lost_product_is_made_again_and_a_failed_one_cancels(tiny: Path, database: Path, harness: Harness) -> None:
    tiny.write_text(tiny.read_text().replace("facts:\n", TEACHER + "facts:\n", 1))
    arguments = ("run", tiny, "--executor", "inline", "--no-report", "--json")
    assert last_json(harness(*arguments))["runs"][0]["counts"] == {"done": 7}
    products = list(database.parent.glob("artifacts/*/product.safetensors"))
    assert len(products) == 1
    products[0].unlink()
    assert last_json(harness(*arguments))["runs"][0]["reused"] == 7
    assert not products[0].exists()  # nobody needs it
    more = last_json(harness(*arguments, "--seeds", "4"))["runs"][0]
    assert products[0].exists()
    assert more["failures"] == []
    tiny.write_text(tiny.read_text().replace("recipe: {steps: 10, slots", "recipe: {steps: 10, fails: true, slots"))
    broken = harness(*arguments)
    assert broken.returncode == 1
    assert last_json(broken)["runs"][0]["counts"] == {"failed": 1, "cancelled": 6}
    assert "prerequisite" in str(last_json(broken)["runs"][0]["failures"])


def test_sequential_seeds_stop_where_a_claim_is_resolved(tiny: Path, database: Path, harness: Harness) -> None:
    tiny.write_text(tiny.read_text().replace("steps: 20", "steps: 2"))
    arguments = ("run", tiny, "--executor", "inline", "--no-report", "--json", "--seeds", "3..20")
    done = harness(*arguments)
    assert done.returncode == 0, done.stderr
    run = last_json(done)["runs"][0]
    (verdict,) = run["verdicts"]
    assert verdict["verdict"] == "direction confirmed"
    assert 3 < verdict["n"] < 12
    assert verdict["e_value"] >= 7.26  # the threshold at 20 seeds at most
    with open_reader(database) as reader:
        (sequential,) = reader.query("SELECT DISTINCT sequential FROM verdicts").rows
        bought = [json.loads(d) for (d,) in reader.query("SELECT detail FROM events WHERE kind = 'seed-bought'").rows]
    assert sequential == (True,)
    assert [event["seed"] for event in bought] == list(range(3, verdict["n"]))
    assert all("tiny-better" in event["reason"] and set(event["arms"]) == {"base", "better"} for event in bought)
    again = last_json(harness(*arguments))["runs"][0]
    assert again["counts"] == {"done": 2 * verdict["n"]}
    assert again["reused"] == again["trials"]
    for more in (("--seeds", "3..20"), ()):
        judged = json.loads(harness("claims", tiny, *more, "--format", "json").stdout)
        assert judged[0]["verdicts"][0]["n"] == verdict["n"]
