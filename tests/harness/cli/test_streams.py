"""Control characters in external names and messages are printed as text."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.group import run_main
from harness.cli.streams import visible
from harness.cli.terminal import note, print_table
from harness.cli.watch import Live
from harness.execute.executors.base import Progress
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.trial.spec import FilledSlots, Part, TrialSpec
from harness.vocabulary import Status

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
    spec = TrialSpec("task", Part("data"), {}, Part("model"), {}, FilledSlots(), 0, "mini")
    job = Job("t", "known", f"[/x]{ESCAPE}", spec, Path())
    watch.started(job)
    watch.progressed([Progress("t", 1, 2, 0.5)])
    console.print(watch._table())
    watch.finished(job, Outcome("t", Status.FAILED, error=f"[/y]{ESCAPE}"))
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
    command = [sys.executable, "-m", "harness", "query", "SELECT chr(27) || '[2J' AS x", "--db", str(database)]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"\x1b[2J" in piped
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, close_fds=True)
    os.close(theirs)
    result = b""
    while part := _read(ours):
        result += part
    process.wait(timeout=60)
    os.close(ours)
    assert b"\\x1b[2J" in result
    assert b"\x1b" not in result


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side has closed
        return b""
