"""Progress in the terminal: a live table on one, plain lines elsewhere, nothing or JSON where requested."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from harness.cli.watch import Live, Plain
from harness.execute.executors.base import Progress
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.trial.spec import FilledSlots, Part, TrialSpec
from harness.vocabulary import Status

Command = Callable[..., "subprocess.CompletedProcess[str]"]
INLINE = ("--executor", "inline", "--no-report")
FAILED = Outcome("t1", Status.FAILED, wall_seconds=1.0, error="ValueError: no\nmore")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The seconds that a watch reads."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr("harness.cli.watch.time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def job(number: int) -> Job:
    spec = TrialSpec("task", Part("data"), {}, Part("model"), {}, FilledSlots(), number, "mini")
    return Job(f"t{number}", "known", "better", spec, Path())


def test_the_live_table_has_cells_seeds_rate_and_time_left(clock: SimpleNamespace) -> None:
    watch = Live("tiny")
    watch._console = console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    jobs = [job(number) for number in range(4)]
    watch.queued(jobs)
    watch.started(jobs[0])
    clock.seconds += 10
    watch.finished(jobs[0], Outcome("t0", Status.DONE, wall_seconds=10.0))
    watch.started(jobs[1])
    watch.progressed([Progress("t1", 7, 20, 0.25)])
    console.print(watch._table())
    shown = " ".join(console.export_text(clear=False).split())
    assert "tiny: 1 of 4 trials" in shown
    assert "running seed step loss seeds done known/better 1 7/20 0.25 1" in shown
    assert "6 trials a minute · 30 s left" in shown
    watch.finished(jobs[1], FAILED)
    console.print(watch._table())
    text = console.export_text()
    assert "failed: known/better/1: ValueError: no\n" in text
    assert "2 of 4 trials · 1 failed" in text


def test_plain_lines_come_once_a_second_and_for_every_failure(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Plain("tiny")
    jobs = [job(number) for number in range(5)]
    watch.queued(jobs)
    for item in jobs:
        watch.started(item)
        clock.seconds += 0.5
        status = FAILED if item is jobs[1] else Outcome(item.trial_id, Status.DONE, wall_seconds=0.5)
        watch.finished(item, status)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["[1/5]", "[2/5]", "[4/5]", "[5/5]"]
    assert lines[1].startswith("[2/5] known/better/1 failed 1.0 s: ValueError: no · ")
    assert lines[-1] == "[5/5] known/better/4 done 0.5 s · 0 s left"


@pytest.mark.parametrize("flag", ["--quiet", "--json"])
def test_quiet_and_json_keep_progress_to_themselves(tiny: Path, command: Command, flag: str) -> None:
    done = command("run", tiny, "--executor", "inline", flag)
    assert done.returncode == 0
    assert done.stderr == ""
    if flag == "--json":
        answer = json.loads(done.stdout)
        assert answer["runs"][0]["counts"] == {"done": 6}
        assert Path(answer["report"]).is_file()
    else:
        assert "tiny-better" in done.stdout
        assert Path(done.stdout.splitlines()[-1]).is_file()


def in_a_terminal(arguments: list[str], folder: Path, **environment: str) -> str:
    """The output of a command on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    variables |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        cwd=folder,
        env=variables,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        close_fds=True,
    )
    os.close(theirs)
    shown = b""
    while part := read(ours):
        shown += part
    process.wait()
    os.close(ours)
    return shown.decode(errors="replace")


def read(descriptor: int) -> bytes:
    """The next part; nothing once the other side has closed."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


@pytest.mark.full
def test_a_terminal_gets_the_table_and_with_ci_the_lines(tiny: Path, database: Path) -> None:
    tiny.write_text(tiny.read_text().replace("noise_key: base}", "noise_key: base, fails: true}"))
    run = ["run", str(tiny), *INLINE, "--db", str(database)]
    shown = in_a_terminal(run, tiny.parent)
    assert "\x1b[?25l" in shown  # the live table hides the cursor
    assert re.search(r"tiny: \d of 6 trials", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))
    assert shown.index("failed: known/base/0") < shown.index("tiny-better")
    lines = in_a_terminal(run, tiny.parent, CI="1")
    assert "\x1b[?25l" not in lines
    assert re.search(r"\[\d/\d\] known/base/\d failed \d", lines)
