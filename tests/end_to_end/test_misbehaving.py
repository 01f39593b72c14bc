"""Trials that misbehave: each is a row with a status and a cause, the run goes on, and no process is left behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness.store import open_reader

Harness = Callable[..., "subprocess.CompletedProcess[str]"]

OPTIMIZERS = """
import ctypes, os, subprocess, sys, threading, time
import torch


class Segfaults(torch.optim.SGD):
    def step(self, closure=None):
        ctypes.string_at(0)


class Exits(torch.optim.SGD):
    def step(self, closure=None):
        os._exit(3)


class Leaves(torch.optim.SGD):
    def step(self, closure=None):
        sys.exit(4)


class Recurses(torch.optim.SGD):
    def step(self, closure=None):
        return self.step(closure)


class Unpicklable(torch.optim.SGD):
    def step(self, closure=None):
        class Local(Exception):
            pass

        error = Local("cannot travel")
        error.lock = threading.Lock()
        raise error


class Unsayable(torch.optim.SGD):
    def step(self, closure=None):
        class Silent(Exception):
            def __str__(self):
                raise ValueError("no words")

        raise Silent()


class Wordy(torch.optim.SGD):
    def step(self, closure=None):
        raise ValueError("x" * 50_000_000)


class Surrogate(torch.optim.SGD):
    def step(self, closure=None):
        raise ValueError("half \\ud800 a pair")


class Hungry(torch.optim.SGD):
    def step(self, closure=None):
        torch.empty(10**14)


class Grows(torch.optim.SGD):
    held = []

    def step(self, closure=None):
        self.held.append(bytearray(20 << 20))
        time.sleep(0.02)


class Swallows(torch.optim.SGD):
    def step(self, closure=None):
        held = []
        while True:
            try:
                for _ in range(5000):
                    held.append(bytearray(20 << 20))
                    time.sleep(0.02)
            except Exception:
                held = held[:1]
                return


class Breeds(torch.optim.SGD):
    def step(self, closure=None):
        if not getattr(self, "child", None):
            self.child = subprocess.Popen(
                [sys.executable, "-c", "held = bytearray(2500 << 20); import time; time.sleep(987)"])
        time.sleep(0.2)


class Deadlocks(torch.optim.SGD):
    def step(self, closure=None):
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()


class Loops(torch.optim.SGD):
    def step(self, closure=None):
        while True:
            pass


class Diverges(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.fill_(float("nan"))


class Prints(torch.optim.SGD):
    def step(self, closure=None):
        sys.stdout.write("y" * 10_000_000)
        return super().step(closure)


class Forks(torch.optim.SGD):
    def step(self, closure=None):
        if not getattr(self, "forked", False):
            self.forked = True
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(987)"])
        return super().step(closure)
"""

EXPECTED: dict[str, tuple[str, str]] = {
    "Segfaults": ("failed", "the worker process died"),
    "Exits": ("failed", "the worker process died"),
    "Leaves": ("failed", "SystemExit: 4"),
    "Recurses": ("failed", "RecursionError"),
    "Unpicklable": ("failed", "Local: cannot travel"),
    "Unsayable": ("failed", "its text cannot be made"),
    "Wordy": ("failed", "50,000,000 characters"),
    "Surrogate": ("failed", "half ? a pair"),
    "Hungry": ("failed", "out of memory"),
    "Deadlocks": ("timeout", "took longer than its"),
    "Loops": ("timeout", "took longer than its"),
    "Diverges": ("diverged", "step 1"),
    "Prints": ("done", ""),
    "Forks": ("done", ""),
}
HANGING = ("Deadlocks", "Loops")
"""Run by themselves: only they are to reach their deadline."""
ALONE = ("Leaves", "Recurses", "Unpicklable", "Unsayable", "Wordy", "Surrogate", "Hungry", "Diverges")
"""Failures that a process survives."""


def arms_of(names: tuple[str, ...]) -> list[str]:
    return [text for name in names for text in ("--arm", f"{name.lower()}=./bad.py:{name}")]


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
    (tmp_path / "bad.py").write_text(OPTIMIZERS)
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
        status, message = EXPECTED[name]
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
    (tmp_path / "bad.py").write_text(OPTIMIZERS)
    names = ("Grows", "Swallows", "Breeds")
    arms = ("--arm", "base", "--arm", "better", *arms_of(names))
    limit = ("--set", "steps=300", "--memory-per-trial", "2000")
    done = harness(
        *("run", tiny, "--seeds", "1", *arms, *limit, "--no-report", "--json", "--executor", "ray"), timeout=280
    )
    assert done.returncode == 1, done.stderr
    with open_reader(database) as reader:
        rows = reader.query("SELECT arm, status, error, attempts, peak_memory_mb FROM trials").rows
    result = {arm: (status, error, attempts, peak) for arm, status, error, attempts, peak in rows}
    assert result["base"][0] == result["better"][0] == "done"
    for name in ("grows", "swallows", "breeds"):
        status, error, attempts, peak = result[name]
        assert (status, attempts) == ("failed", 1), result[name]
        assert error.startswith("out of memory: the trial held "), error
        assert "more than its limit of 2,000 MiB; --memory-per-trial MIB gives it more" in error
        assert peak > 2000
    assert sleepers() == [], "a child outlived its trial"
