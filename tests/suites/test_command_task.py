"""Any program as a trial: numbers, end, failures, no remaining processes."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from waiting import until

from harness import client
from harness.cli.group import run_main
from harness.client import seed_everything
from harness.execute.outcome import Outcome
from harness.execute.worker import Job, run_job
from harness.plan.planning import make_plan
from harness.store import open_reader
from harness.suite import load_suite
from harness.vocabulary import Status

HERE = 'writes: ["."]\n'
CLIENT = "from harness.client import log, seed, folder, resuming\n"


def own_suite(folder: Path, script: str, more: str = "", name: str = "train.py") -> Path:
    """A suite of two arms whose program is the script."""
    (folder / name).write_text(textwrap.dedent(script))
    path = folder / "mine.yaml"
    path.write_text(
        textwrap.dedent(
            f"""\
            suite: mine
            arms:
              adam: {{values: {{opt: adam, lr: 0.001}}}}
              adamp: {{values: {{opt: adamp, lr: 0.001}}}}
            benchmarks:
              digits:
                command: [python, {name}, --opt, "{{arm.opt}}", --seed, "{{seed}}"]
                metrics: {{accuracy: {{unit: percent, better: higher}}}}
            """
        )
        + textwrap.indent(textwrap.dedent(more), "    ")
        + "compare:\n  - {arm: adamp, against: [adam], metric: accuracy, primary: true}\n"
    )
    return path


def ran(path: Path, folder: Path, arm: str = "adamp", attempt: int = 1, seconds: float = 60) -> Outcome:
    """The outcome of an arm's first trial."""
    plan = make_plan(load_suite(path))
    trial = next(trial for trial in plan.trials if trial.arm == arm)
    own = folder / "artifacts" / trial.trial_id
    job = Job(trial.trial_id, trial.benchmark, trial.arm, trial.spec, own, attempt, seconds)
    return run_job(job, lambda *_: None)


@pytest.mark.full
def test_a_custom_suite_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = CLIENT + (
        "import random, sys\n"
        "opt = sys.argv[sys.argv.index('--opt') + 1]\n"
        "for step in range(1, 4): log(step=step, loss=1 / step)\n"
        "log(accuracy=80 + random.Random(seed()).gauss(0, 1) + random.Random(f'{opt}{seed()}').gauss(0, .1)"
        " + 2 * (opt == 'adamp'))\n"
    )
    path, db = own_suite(tmp_path, script), tmp_path / "results" / "harness.duckdb"
    assert len(path.read_text().splitlines()) <= 12
    assert run_main(["validate", str(path)]) == 0
    assert run_main(["run", str(path), "--db", str(db), "--executor", "inline", "--no-report", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    (verdict,) = answer["runs"][0]["verdicts"]
    assert (verdict["claim_id"], verdict["verdict"], verdict["n"]) == ("adamp-over-adam", "direction confirmed", 3)
    assert verdict["stand_in"] == []
    assert verdict["stand_in_name"] == ""
    assert any("as the script states" in text for text in verdict["design"]["warnings"])
    with open_reader(db) as reader:
        rows = reader.query("SELECT name, count(*) FROM metrics GROUP BY ALL").rows
        assert rows == [("loss", 18)]
    # the same again runs nothing; an edited script is other code
    assert run_main(["plan", str(path), "--db", str(db)]) == 0
    assert "6 stored already" in capsys.readouterr().out
    (tmp_path / "train.py").write_text(script + "\n# edited")
    assert run_main(["plan", str(path), "--db", str(db)]) == 0
    assert "0 stored already" in capsys.readouterr().out


RESULTS: dict[str, tuple[str, str]] = {
    "lines": (
        "import json, os\nwith open(os.environ['HARNESS_FOLDER'] + '/log.jsonl', 'w') as f:\n"
        "    for step in range(3): print(json.dumps({'step': step, 'accuracy': 80 + step}), file=f)\n",
        "results: {lines: log.jsonl}",
    ),
    "output": (
        "print('hello')\nfor step in range(3): print('{\"step\": %d, \"accuracy\": %d}' % (step, 80 + step))\n",
        "results: {output: json}",
    ),
    "csv": (
        "import os\nwith open(os.environ['HARNESS_FOLDER'] + '/log.csv', 'w') as f:\n"
        "    f.write('step,val_acc\\n0,80\\n1,81\\n2,82')\n",
        "results: {csv: log.csv, names: {accuracy: val_acc}}",
    ),
    "pattern": (
        "for step in range(3): print(f'[{step}/3] loss {1 / (step + 1):.3f} acc {80 + step}%')\n",
        "results: {pattern: '\\[(?P<step>\\d+)/3\\] loss (?P<loss>[0-9.]+) acc (?P<accuracy>[0-9.]+)'}",
    ),
}


@pytest.mark.parametrize("source", RESULTS)
def test_numbers_come_back_in_every_way(source: str, tmp_path: Path) -> None:
    script, results = RESULTS[source]
    outcome = ran(own_suite(tmp_path, script, results + "\n"), tmp_path)
    assert outcome.status == Status.DONE, outcome.error
    assert outcome.score("test", "accuracy") == 82
    (series,) = [item for item in outcome.series if item.name == "accuracy"]
    assert (series.step, series.value) == ([0, 1, 2], [80, 81, 82])
    assert all(0 <= seconds < 300 for seconds in series.elapsed_seconds)


def test_the_best_record_may_be_final(tmp_path: Path) -> None:
    script = CLIENT + (
        "for step, (val, test) in enumerate([(70, 60), (90, 75), (80, 99)]):\n"
        "    log(step=step, split='validation', accuracy=val)\n    log(step=step, accuracy=test)\n"
        "    log(step=step, val_acc=val)\n"
    )
    path = own_suite(tmp_path, script, "results: {final: {max: val_acc}}\n")
    outcome = ran(path, tmp_path)
    assert outcome.score("test", "accuracy") == 75
    assert outcome.score("validation", "accuracy") == 90


FAILURES: dict[str, tuple[str, str]] = {
    "exit code": ("import sys\nprint('before it')\nsys.exit(3)\n", "exit code 3; its last lines:\n  before it"),
    "exception": ("raise ValueError('bad learning rate')\n", "ValueError: bad learning rate"),
    "signal": ("import os\nos.kill(os.getpid(), 11)\n", "the signal SIGSEGV"),
    "no metric": (CLIENT + "log(loss=0.1)\n", "gave no accuracy; it gave loss"),
    "nothing": ("print('done')\n", "gave no accuracy; it gave none at all"),
    "nan": (CLIENT + "log(accuracy=float('nan'))\n", "accuracy is not finite at the end"),
    "children": (
        CLIENT + "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "log(accuracy=1)\n",
        "left 1 process running, now ended",
    ),
    "broken lines": (
        "import os\nopen(os.environ['HARNESS_RESULTS'], 'w').write('{\"accuracy\": 1}\\nnot json\\n')\n",
        ":2: not JSON",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_goes_wrong_is_a_failed_trial_that_says_so(failure: str, tmp_path: Path) -> None:
    script, message = FAILURES[failure]
    outcome = ran(own_suite(tmp_path, script), tmp_path)
    assert outcome.status == Status.FAILED
    assert message in str(outcome.error)
    assert not outcome.results


@pytest.mark.full
def test_over_time_is_ended_as_a_whole(tmp_path: Path) -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}')\ntime.sleep(60)\n"
    )
    outcome = ran(own_suite(tmp_path, script, HERE), tmp_path, seconds=4.0)
    assert outcome.status == Status.TIMEOUT
    pids = (tmp_path / "pids").read_text().split()
    until(lambda: not any(alive(int(pid)) for pid in pids))


def test_over_its_memory_is_ended(tmp_path: Path) -> None:
    script = "import time\nheld = bytearray(300_000_000)\ntime.sleep(30)\n"
    outcome = ran(own_suite(tmp_path, script, "memory_mb: 150\n"), tmp_path)
    assert outcome.status == Status.FAILED
    assert "out of memory: the program took more than 150 MiB" in str(outcome.error)


@pytest.mark.full
def test_the_program_ends_with_its_worker(tmp_path: Path) -> None:
    """However the worker dies, SIGKILL too."""
    script = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    path = own_suite(tmp_path, script, HERE)
    code = f"""
import sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
from test_command_task import ran
ran(Path({str(path)!r}), Path({str(tmp_path)!r}))
"""
    worker = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    until(lambda: not alive(pid))


def test_much_output_is_kept_at_both_ends(tmp_path: Path) -> None:
    script = CLIENT + (
        "print('the beginning')\nfor _ in range(300): print('x' * 65536)\nprint('the end')\nlog(accuracy=1)\n"
    )
    outcome = ran(own_suite(tmp_path, script), tmp_path)
    assert outcome.status == Status.DONE, outcome.error
    (log,) = outcome.artifacts
    content = log.path.read_text()
    assert content.startswith("the beginning")
    assert content.rstrip().endswith("the end")
    assert "omitted" in content
    assert len(content) < 10 * 2**20


def test_an_attempt_starts_again_or_resumes(tmp_path: Path) -> None:
    script = CLIENT + (
        "state = folder() / 'state'\nseen = state.read_text() if state.exists() else ''\n"
        "state.write_text(seen + 'x')\nlog(accuracy=len(seen), resumed=resuming())\n"
    )
    fresh = own_suite(tmp_path, script)
    assert [ran(fresh, tmp_path).score("test", "accuracy") for _ in range(2)] == [0, 0]
    going = own_suite(tmp_path, script + "# other code\n", "resumes: true\n")
    result = [ran(going, tmp_path) for _ in range(2)]
    assert [item.score("test", "accuracy") for item in result] == [0, 1]
    assert [item.score("test", "resumed") for item in result] == [0, 1]


def test_a_repository_at_a_commit(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "train.py").write_text("print('acc 70')\n")
    git = ["git", "-C", str(there), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (there / "train.py").write_text("print('acc 99')\n")
    more = f"repository: {there}\ncommit: {commit}\nresults: {{pattern: 'acc (?P<accuracy>[0-9]+)'}}\n"
    path = own_suite(tmp_path, "", more)
    assert ran(path, tmp_path).score("test", "accuracy") == 70
    (there / "train.py").write_text("print('acc 0')\n")
    assert ran(path, tmp_path, "adam").score("test", "accuracy") == 70


def test_any_language(tmp_path: Path) -> None:
    path = own_suite(tmp_path, "", "results: {pattern: 'acc (?P<accuracy>[0-9]+)'}\n")
    text = path.read_text().replace('[python, train.py, --opt, "{arm.opt}", --seed, "{seed}"]', "sh run.sh {seed}")
    path.write_text(text.replace("results:", 'code: ["*.sh"]\n    results:'))
    (tmp_path / "run.sh").write_text("echo acc $((70 + $1))\n")
    assert ran(path, tmp_path).score("test", "accuracy") == 70


def added(key: str) -> Callable[[str], str]:
    """An edit that adds a key of the benchmark."""
    return lambda text: text.replace("    metrics:", f"    {key}\n    metrics:")


MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "a name in braces": (lambda t: t.replace("{arm.opt}", "{arm.optt}"), "no '{arm.optt}'; did you mean 'arm.opt'"),
    "a key": (added("resluts: {}"), "unknown key 'resluts'"),
    "a key of results": (added("results: {patern: x}"), "did you mean 'pattern'"),
    "a pattern without a number": (added("results: {pattern: 'acc'}"), "pattern names no number"),
    "a broken pattern": (added("results: {pattern: '('}"), "not a regular expression"),
    "a folder": (added("in: nowhere"), "nowhere does not exist"),
    "code that is not there": (added("code: ['*.rs']"), "none matches *.rs"),
    "a repository without a commit": (added("repository: there"), "given together"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_with_its_place(mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, message = MISTAKES[mistake]
    path = own_suite(tmp_path, "print(1)\n")
    path.write_text(change(path.read_text()))
    assert run_main(["validate", str(path)]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert f"{path}:" in text
    assert "Traceback" not in text


@pytest.mark.full
def test_unpaired_runs_are_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own_suite(tmp_path, CLIENT + "log(accuracy=80 + seed())\n", "paired: none\n")
    db = tmp_path / "r" / "h.duckdb"
    assert run_main(["run", str(path), "--db", str(db), "--executor", "inline", "--no-report"]) == 0
    assert "unpaired runs are not judged" in capsys.readouterr().out


def test_a_script_that_logs_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(CLIENT + "log(step=1, loss=0.5)\nprint(seed(7), folder(), resuming())\n")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HARNESS_")}
    words = [sys.executable, "train.py"]
    done = subprocess.run(words, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert json.loads(first)["loss"] == 0.5
    assert second == "7 . False"


def test_the_client_needs_nothing() -> None:
    heavy = {"numpy", "torch", "pydantic", "click"}
    code = f"import sys; import harness.client; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_script_without_arguments_runs_seeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "script.py").write_text("import random, sys\nprint(sys.argv[1:], random.random())\n")
    monkeypatch.setattr(sys, "argv", ["client", str(tmp_path / "script.py")])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HARNESS_SEED", "3")
    client._main()
    assert capsys.readouterr().out == f"[] {random.Random(3).random()}\n"


def test_a_logged_time_is_in_milliseconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_RESULTS", str(tmp_path / "numbers.jsonl"))
    monkeypatch.setattr(time, "time", lambda: 1.23456)
    client.log(loss=0.5)
    assert json.loads((tmp_path / "numbers.jsonl").read_text()) == {"time": 1.235, "loss": 0.5}


def test_every_generator_is_seeded() -> None:
    def drawn(number: int) -> tuple[float, float, float]:
        seed_everything(number)
        return random.random(), float(np.random.random()), float(torch.rand(()))

    first, again, other = drawn(3), drawn(3), drawn(4)
    assert first == again
    assert all(left != right for left, right in zip(first, other, strict=True))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (OSError, IndexError):
        return False
