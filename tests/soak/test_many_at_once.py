"""Two runs and a sweep write one database while ten readers poll it: all finish, and no reader fails or goes back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pytest
import soak_readers
from soak_readers import DONE
from soak_runs import ROUND_SECONDS, numbers, synthetic

from harness.store.rebuild import check

LIBRARY = ("fresh",) * 4 + ("kept",) * 2 + ("browse",)
COMMANDS = 3
SWEEP = """
sweep:
  arms: [base, better]
  fresh: 2
  batch: 4
  spaces:
    "*": {optimizer.lr: {low: 1.0e-3, high: 1.0, log: true}, optimizer.momentum: {choices: [0.0]},
          optimizer.weight_decay: {choices: [0.0]}}
"""


def harness(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def asking(database: Path, stop: Path) -> list[tuple[float, float, int]]:
    """``harness query`` in a process of its own, again and again."""
    answers = []
    while not stop.exists():
        began = time.monotonic()
        process = harness("query", DONE, "--format", "csv", "--db", str(database), folder=stop.parent)
        out, err = process.communicate(timeout=ROUND_SECONDS)
        assert process.returncode == 0, err
        answers.append((time.monotonic() - began, 0.0, int(out.splitlines()[1])))
        time.sleep(2)
    return answers


def told(kind: str, answers: list[list[tuple[float, float, int]]]) -> str:
    seconds = sorted(one for reader in answers for one, _, _ in reader)
    waited = max(one for reader in answers for _, one, _ in reader)
    late = sum(one > 2 for one in seconds)
    return (
        f"{kind}: {len(answers)} readers, {len(seconds)} answers, median {median(seconds):.2f} s, slowest "
        f"{seconds[-1]:.2f} s, {late} over two seconds; longest wait for a lock {waited:.2f} s"
    )


@pytest.mark.timeout(600)
def test_two_runs_a_sweep_and_ten_readers(tmp_path: Path, tiny_text: str) -> None:
    many_at_once(tmp_path, tiny_text, seeds=5, budget=2)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_same_for_longer(tmp_path: Path, tiny_text: str) -> None:
    many_at_once(tmp_path, tiny_text, seeds=12, budget=24)


def many_at_once(folder: Path, tiny_text: str, seeds: int, budget: int) -> None:
    database, stop = folder / "many.duckdb", folder / "stop"
    (first,) = synthetic(folder, tiny_text + SWEEP, seeds, pause=0.03)
    second = folder / "other.yaml"
    second.write_text(Path(first).read_text().replace("suite: tiny", "suite: other").replace("3.0}", "1.0}"))
    common = ("--executor", "inline", "--quiet", "--db", str(database))
    writers = [
        harness("run", first, "--no-report", *common, folder=folder),
        harness("run", str(second), "--no-report", *common, folder=folder),
        harness("sweep", first, "--benchmark", "known", "--budget", str(budget), *common, folder=folder),
    ]
    deadline = time.monotonic() + ROUND_SECONDS
    while not database.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    script = str(Path(soak_readers.__file__))
    library = [
        subprocess.Popen(
            [sys.executable, script, str(database), kind, str(stop)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for kind in LIBRARY
    ]
    with ThreadPoolExecutor(COMMANDS) as pool:
        asked = [pool.submit(asking, database, stop) for _ in range(COMMANDS)]
        try:
            ended = [(writer.communicate(timeout=2 * ROUND_SECONDS)[1], writer.returncode) for writer in writers]
        finally:
            stop.touch()
            for writer in writers:
                writer.kill()
            heard = [reader.communicate(timeout=ROUND_SECONDS) for reader in library]
    assert [code for _, code in ended] == [0, 0, 0], ended
    assert [reader.returncode for reader in library] == [0] * len(library), [err for _, err in heard]
    polled = [json.loads(out) for out, _ in heard]
    queries = [one.result() for one in asked]
    print(told("library", polled), told("harness query, with its start", queries), sep="\n", flush=True)
    # How long an answer takes is the machine's affair, how long it waits for the others is ours.
    assert max(waited for answers in polled for _, waited, _ in answers) < 2
    for answers in (*polled, *queries):
        counts = [count for _, _, count in answers]
        assert counts == sorted(counts), "an answer went back in time"
    assert any(0 < counts < len({trial for trial, _, _ in numbers(database)}) for a in polled for *_, counts in a)
    assert check(database) == []
