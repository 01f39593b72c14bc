"""What a run tells in the terminal: a live table on one, plain lines elsewhere, nothing or JSON where asked."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Harness = Callable[..., "subprocess.CompletedProcess[str]"]


def slow(tiny: Path, fails: bool = False) -> Path:
    text = tiny.read_text().replace("own_sd: 0.3}", "own_sd: 0.3, step_seconds: 0.03}")
    tiny.write_text(text.replace("noise_key: base}", "noise_key: base, fails: true}") if fails else text)
    return tiny


def in_a_terminal(arguments: list[str], folder: Path, **environment: str) -> str:
    """Everything that a command writes to a terminal of 100 columns."""
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
    found = b""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        ready, _, _ = select.select([ours], [], [], 0.5)
        if ready:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side has closed
                break
            if not part:
                break
            found += part
        elif process.poll() is not None:
            break
    process.wait(timeout=30)
    os.close(ours)
    return found.decode(errors="replace")


def test_a_terminal_gets_a_live_table_with_cells_seeds_rate_and_time_left(tiny: Path, database: Path) -> None:
    run = ["run", str(slow(tiny)), "--executor", "inline", "--no-report", "--db", str(database)]
    shown = in_a_terminal(run, tiny.parent)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "\x1b[" in shown
    assert re.search(r"tiny: \d of 6 trials", plain)
    assert "known/better" in plain
    assert "seeds done" in plain
    assert "trials a minute" in plain
    assert re.search(r"\d+ s left|\d+ min left", plain)
    assert "direction confirmed" in plain


def test_failures_are_told_as_they_happen_with_ci_too(tiny: Path, database: Path) -> None:
    run = ["run", str(slow(tiny, fails=True)), "--executor", "inline", "--no-report", "--db", str(database)]
    shown = in_a_terminal(run, tiny.parent)
    assert shown.index("failed: known/base/0") < shown.index("tiny-better")
    lines = in_a_terminal(run, tiny.parent, CI="1")
    assert "\x1b[?25l" not in lines  # no live table hides the cursor
    assert re.search(r"\[\d/\d\] known/base/\d failed \d", lines)


def test_without_a_terminal_there_are_plain_lines(tiny: Path, harness: Harness) -> None:
    done = harness("run", slow(tiny), "--executor", "inline", "--no-report")
    lines = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert done.returncode == 0
    assert re.fullmatch(r"\[6/6\] known/\w+/\d done [\d.]+ s · 0 s left", lines[-1])
    assert "\x1b" not in done.stderr + done.stdout


@pytest.mark.parametrize("flag", ["--quiet", "--json"])
def test_quiet_and_json_keep_progress_to_themselves(tiny: Path, harness: Harness, flag: str) -> None:
    done = harness("run", tiny, "--executor", "inline", flag)
    assert done.returncode == 0
    assert done.stderr == ""
    if flag == "--json":
        told = json.loads(done.stdout)
        assert told["runs"][0]["counts"] == {"done": 6}
        assert Path(told["report"]).is_file()
    else:
        assert "tiny-better" in done.stdout
        assert Path(done.stdout.splitlines()[-1]).is_file()
