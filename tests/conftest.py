"""What tests share: small suites whose truth is known, and the command line in this process or in another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import warm_process

SYNTHETIC = """
suite: tiny
title: A suite whose truth is known
seeds: {min: 3, max: 12}
arms:
  base: {role: baseline, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: base}}
  better: {role: method, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: better, effect: 3.0}}
benchmarks:
  known:
    define:
      benchmark: known
      title: Known truth
      task: synthetic
      metrics: {score: {unit: points, better: higher}}
      mini:
        data: {name: nothing}
        model: {name: scalar}
        recipe: {steps: 20, own_sd: 0.3}
facts:
  - id: tiny-better
    suite: tiny
    benchmark: known
    metric: score
    unit: points
    better: higher
    method: better
    baseline: base
    published: {method: 53, baseline: 50, difference: 3}
    kind: difference
    statement: better is 3 points above base.
claims:
  - {id: tiny-better, benchmarks: [known], arm: better, against: [base], primary: true}
"""


@pytest.fixture(scope="session")
def tiny_text() -> str:
    """The text of a valid suite of two arms on the synthetic task."""
    return dedent(SYNTHETIC).lstrip()


@pytest.fixture
def tiny(tmp_path: Path, tiny_text: str) -> Path:
    """The suite as a file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny_text, encoding="utf-8")
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where a test's database goes."""
    return tmp_path / "results" / "harness.duckdb"


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test writes into the user's cache or the working folder's results."""
    monkeypatch.setenv("HARNESS_DB", str(tmp_path / "results" / "harness.duckdb"))
    if "HARNESS_CACHE" not in os.environ:
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests that compute do so on one thread: their networks are tiny, and several tests run side by side."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


Harness = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """The command line as a user calls it: ``harness("run", "tiny.yaml")`` in another process.

    ``fresh=True``: in a fresh interpreter, not in one that has the libraries already.
    """

    def call(
        *arguments: object, timeout: float = 240, fresh: bool = False, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = ["harness", *map(str, arguments)]
        told = {**os.environ, **environment}
        if not fresh:
            return warm_process.call(command, tmp_path, told, timeout)
        command = [sys.executable, "-m", *command]
        return subprocess.run(
            command, cwd=tmp_path, env=told, capture_output=True, text=True, timeout=timeout, check=False
        )

    return call


@pytest.fixture(scope="module", autouse=True)
def _no_part_of_a_user_stays() -> Iterator[None]:
    """A user's file is known to its process for good, and other files of tests list what there is."""
    from harness.registry import index

    before = {kind: dict(known) for kind, known in index._ADDED.items()}
    yield
    for kind, known in before.items():
        index._ADDED[kind].clear()
        index._ADDED[kind].update(known)
