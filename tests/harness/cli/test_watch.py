"""Output in the terminal: progress, and control characters of external names as text."""

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

from harness.cli.group import run_main
from harness.cli.streams import visible
from harness.cli.terminal import note, print_table
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


def job(number: int, arm: str = "better") -> Job:
    spec = TrialSpec("task", Part("data"), {}, Part("model"), {}, FilledSlots(), number, "mini")
    return Job(f"t{number}", "known", arm, spec, Path())


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


ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本 😀\tx\n", "plain é 日本 😀\tx\n"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\rb\x00\x7f\x9b", "a\\rb\\x00\\x7f\\x9b"),
        ("\u202egnp", "\\u202egnp"),
        ("\udcff\ud800", "\\udcff\\ud800"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_messages_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["validate", str(tmp_path / f"{ESCAPE}.yaml")]) == 2
    shown = capsys.readouterr().err
    assert not set("\x1b\x07\x9b\u202e") & set(shown)
    assert "the file does not exist" in shown
    assert run_main(["plan", f"{ESCAPE}"]) == 2
    assert run_main(["db", "tag", "latest", "\x1b[31m", "--db", str(tmp_path / "gone")]) == 2
    assert run_main(["list", "runs", ESCAPE, "--db", str(tmp_path / ESCAPE)]) == 2
    assert not set("\x1b\x07\x9b\u202e") & set(capsys.readouterr().err)


def test_cells_notes_and_titles_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name",), [(f"[red]{ESCAPE}[/x]",)], title=ESCAPE)
    note(f"[/x]{ESCAPE}")
    shown = capsys.readouterr().out
    assert "[red]\\x1b]0;owned" in shown
    assert not set("\x1b\x07\x9b\u202e") & set(shown)


def test_the_live_table_takes_markup_for_text() -> None:
    watch = Live("tiny")
    watch._console = console = Console(width=200, record=True)
    item = job(0, f"[/x]{ESCAPE}")
    watch.started(item)
    watch.progressed([Progress("t0", 1, 2, 0.5)])
    console.print(watch._table())
    watch.finished(item, Outcome("t0", Status.FAILED, error=f"[/y]{ESCAPE}"))
    shown = console.export_text()
    assert "[/x]\\x1b]0;owned" in shown
    assert "[/y]\\x1b]0;owned" in shown


@pytest.mark.parametrize("character", ["\x7f", "\x9b", "\u202e", "\u2066"])
def test_names_have_none(character: str, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        tiny.read_text()
        .replace("better:", f'"bet{character}ter":', 1)
        .replace("arm: better", f'arm: "bet{character}ter"')
    )
    tiny.write_text(text.replace("method: better", f'method: "bet{character}ter"'))
    assert run_main(["plan", str(tiny)]) == 2
    assert "tiny.yaml:" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["[red]better", "[/x]", "a [b] c"])
def test_markup_in_a_name_is_text(name: str, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tiny.read_text().replace("  better:", f'  "{name}":', 1).replace("arm: better", f'arm: "{name}"')
    tiny.write_text(text)
    assert run_main(["plan", str(tiny)]) == 0
    assert name in capsys.readouterr().out


def test_a_terminal_gets_them_written_out_and_a_pipe_the_data(tiny: Path, database: Path) -> None:
    assert run_main(["claims", str(tiny), "--db", str(database)]) == 0
    arguments = ["query", "SELECT chr(27) || '[2J' AS x", "--db", str(database)]
    command = [sys.executable, "-m", "harness", *arguments]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"\x1b[2J" in piped
    shown = in_a_terminal(arguments, tiny.parent)
    assert "\\x1b[2J" in shown
    assert "\x1b" not in shown
