"""Trials that misbehave: each is a row with a status and a cause, the run goes on, and no process is left behind."""

import json
import subprocess
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil
import pytest

from harness.store import open_reader

Harness = Callable[..., "subprocess.CompletedProcess[str]"]

LOCAL_ERROR = """
class Local(Exception):
    pass
error = Local("cannot travel")
error.lock = threading.Lock()
raise error
"""
SILENT_ERROR = """
class Silent(Exception):
    def __str__(self):
        raise ValueError("no words")
raise Silent()
"""
SWALLOWED = """
held = []
try:
    for _ in range(5000):
        held.append(bytearray(20 << 20))
        time.sleep(0.02)
except Exception:
    held = held[:1]
"""
PARENT = """
if not getattr(self, "child", None):
    self.child = subprocess.Popen([sys.executable, "-c", {code!r}])
"""
SLEEPS = "import time; time.sleep(987)"
FILLS_WITH_NAN = """
for group in self.param_groups:
    for p in group["params"]:
        p.data.fill_(float("nan"))
"""
STEP = "return super().step(closure)"
EXPECTED: dict[str, tuple[str, str, str]] = {
    "Segfaults": ("ctypes.string_at(0)", "failed", "the worker process died"),
    "Exits": ("os._exit(3)", "failed", "the worker process died"),
    "Leaves": ("sys.exit(4)", "failed", "SystemExit: 4"),
    "Recurses": ("return self.step(closure)", "failed", "RecursionError"),
    "Unpicklable": (LOCAL_ERROR, "failed", "Local: cannot travel"),
    "Unsayable": (SILENT_ERROR, "failed", "its text cannot be made"),
    "Wordy": ("raise ValueError('x' * 50_000_000)", "failed", "50,000,000 characters"),
    "Surrogate": (r"raise ValueError('half \ud800 a pair')", "failed", "half ? a pair"),
    "Hungry": ("torch.empty(10**14)", "failed", "out of memory"),
    "Deadlocks": ("lock = threading.Lock()\nlock.acquire()\nlock.acquire()", "timeout", "took longer than its"),
    "Loops": ("while True:\n    pass", "timeout", "took longer than its"),
    "Diverges": (FILLS_WITH_NAN, "diverged", "step 1"),
    "Prints": (f"sys.stdout.write('y' * 10_000_000)\n{STEP}", "done", ""),
    "Forks": (f"{PARENT.format(code=SLEEPS)}{STEP}", "done", ""),
}
"""The body of each optimizer's step, the status of its trial, and a part of the cause."""
GROWING = {
    "Grows": "self.held = [*getattr(self, 'held', []), bytearray(20 << 20)]\ntime.sleep(0.02)",
    "Swallows": SWALLOWED,
    "Breeds": PARENT.format(code=f"held = bytearray(1500 << 20); {SLEEPS}") + "time.sleep(0.2)",
}
HANGING = ("Deadlocks", "Loops")
"""Run by themselves: only they are to reach their deadline."""
ALONE = ("Leaves", "Recurses", "Unpicklable", "Unsayable", "Wordy", "Surrogate", "Hungry", "Diverges")
"""Failures that a process survives."""


def arms_of(names: Iterable[str]) -> list[str]:
    return [text for name in names for text in ("--arm", f"{name.lower()}=./bad.py:{name}")]


def write_optimizers(folder: Path, steps: Mapping[str, str]) -> None:
    text = "import ctypes, os, subprocess, sys, threading, time\nimport torch\n"
    for name, step in steps.items():
        body = textwrap.indent(step.strip(), " " * 8)
        text += f"\n\nclass {name}(torch.optim.SGD):\n    def step(self, closure=None):\n{body}\n"
    (folder / "bad.py").write_text(text)


def sleepers() -> list[int]:
    return [
        item.pid
        for item in psutil.process_iter(["cmdline"])
        if "time.sleep(987)" in " ".join(item.info["cmdline"] or [])
    ]


@pytest.mark.ray
@pytest.mark.timeout(400)
@pytest.mark.parametrize("executor", ["ray", "inline"])
def test_each_is_a_row_with_its_cause(
    tmp_path: Path, tiny: Path, database: Path, harness: Harness, executor: str
) -> None:
    write_optimizers(tmp_path, {name: step for name, (step, _, _) in EXPECTED.items()})
    names = tuple(EXPECTED) if executor == "ray" else ALONE
    ended = tuple(name for name in names if name not in HANGING)
    common = ("run", tiny, "--seeds", "1", "--no-report", "--json", "--executor", executor)
    done = harness(*common, "--arm", "base", *arms_of(ended), timeout=350)
    assert done.returncode == 1, done.stderr
    assert len(done.stderr) < 200_000
    run = json.loads(done.stdout.splitlines()[-1])["runs"][0]
    assert sum(run["counts"].values()) == 1 + len(ended)
    if executor == "ray":
        done = harness(*common, *arms_of(HANGING), "--set", "timeout_seconds=4", timeout=350)
        assert done.returncode == 1, done.stderr
    with open_reader(database) as reader:
        rows = reader.query("SELECT arm, status, coalesce(error, ''), attempts FROM trials").rows
    result = {arm: (status, error, attempts) for arm, status, error, attempts in rows}
    assert result["base"][0] == "done"
    for name in names:
        _, status, message = EXPECTED[name]
        assert result[name.lower()][0] == status, (name, result[name.lower()])
        assert message in result[name.lower()][1], (name, result[name.lower()])
        assert len(result[name.lower()][1]) < 6000
        assert "\x1b" not in result[name.lower()][1]
    assert sleepers() == [], "a child outlived its trial"
    assert harness("db", "check", "--db", database).returncode == 0


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_what_grows_beyond_its_memory_is_ended_and_the_others_finish(
    tmp_path: Path, tiny: Path, database: Path, harness: Harness
) -> None:
    """Growth step by step, under an error handler, or in a child; there is one attempt."""
    write_optimizers(tmp_path, GROWING)
    arms = ("--arm", "base", "--arm", "better", *arms_of(GROWING))
    limit = ("--set", "steps=300", "--memory-per-trial", "1200")
    done = harness(
        *("run", tiny, "--seeds", "1", *arms, *limit, "--no-report", "--json", "--executor", "ray"), timeout=280
    )
    assert done.returncode == 1, done.stderr
    with open_reader(database) as reader:
        rows = reader.query("SELECT arm, status, error, attempts, peak_memory_mb FROM trials").rows
    result = {arm: (status, error, attempts, peak) for arm, status, error, attempts, peak in rows}
    assert result["base"][0] == result["better"][0] == "done"
    for name in GROWING:
        status, error, attempts, peak = result[name.lower()]
        assert (status, attempts) == ("failed", 1), result[name.lower()]
        assert error.startswith("out of memory: the trial held "), error
        assert "more than its limit of 1,200 MiB; --memory-per-trial MIB gives it more" in error
        assert peak > 1200
    assert sleepers() == [], "a child outlived its trial"
