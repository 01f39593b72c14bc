"""Runs killed at random moments, of which nothing may be lost: a few kills in the gate, hundreds with ``--slow``.

An episode is a suite of 24 short trials on a database of its own, started again until it is complete. What is killed
is drawn: the command alone, its whole process group, a worker, Ray's raylet or its control store; or everything is
stopped for a while and goes on. After each blow every finished trial must still be in the journal, once; after each
episode the database must be sound and its numbers those of an undisturbed run, to the last bit.

    HARNESS_SOAK_KILLS=300 pytest tests/soak -m slow -s
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness.store import open_reader
from harness.store.rebuild import check

ROUND_SECONDS = 120
BLOWS = ("command", "group", "group", "worker", "raylet", "gcs_server", "stopped")


def suite_text(tiny_text: str) -> str:
    slow = tiny_text.replace("own_sd: 0.3}", "own_sd: 0.3, step_seconds: 0.05}")
    return slow.replace("seeds: {min: 3", "seeds: {min: 12")


def started(suite: Path, database: Path, executor: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness", "run", str(suite), "--no-report", "--quiet", "--db", str(database)]
    return subprocess.Popen(
        [*command, "--executor", executor], cwd=suite.parent, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def of_kind(process: subprocess.Popen[bytes], kind: str) -> list[psutil.Process]:
    """Processes of a run: Ray's workers, or those of one program."""
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(process.pid).children(recursive=True)
        return [one for one in found if _name(one).startswith("ray::" if kind == "worker" else kind)]
    return []


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        line = process.cmdline()
        return Path(line[0].split()[0]).name if line and line[0] else process.name()
    return ""


def end_all(process: subprocess.Popen[bytes]) -> None:
    """The process group, whatever is stopped or gone of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def strike(process: subprocess.Popen[bytes], blow: str, chance: random.Random) -> bool:
    """One blow; whether there was something to hit."""
    if process.poll() is not None:
        return False
    if blow == "group":
        end_all(process)
    elif blow == "command":
        process.kill()
        process.wait()
    elif blow == "stopped":
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(chance.uniform(0.5, 3))
        os.killpg(process.pid, signal.SIGCONT)
    else:
        victims = of_kind(process, blow)
        if not victims:
            return False
        with contextlib.suppress(psutil.Error):
            chance.choice(victims).kill()
    return True


def finished(database: Path) -> Counter[str]:
    """How often each trial ended ``done``, over every segment of the journal."""
    counts: Counter[str] = Counter()
    journal = database.with_name(database.name + ".journal")
    for file in sorted(journal.iterdir()) if journal.exists() else ():
        with contextlib.suppress(FileNotFoundError):  # archived meanwhile; its archive is read as well or instead
            content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            for line in content.splitlines(keepends=True):
                event = json.loads(line) if line.endswith(b"\n") else {"kind": "torn"}
                if (event["kind"], event.get("status")) == ("outcome", "done"):
                    counts[event["trial_id"]] += 1
    return +counts


def numbers(database: Path) -> dict[tuple[str, str, str], float]:
    with open_reader(database) as reader:
        return {row[:3]: row[3] for row in reader.query("SELECT trial_id, split, metric, value FROM results").rows}


def undisturbed(suite: Path, folder: Path) -> dict[tuple[str, str, str], float]:
    process = started(suite, folder / "whole.duckdb", "inline")
    assert process.wait(timeout=ROUND_SECONDS) == 0
    return numbers(folder / "whole.duckdb")


def episode(
    suite: Path, database: Path, executor: str, chance: random.Random, kills: int, struck: Counter[str],
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    """Until the suite is complete; no more blows than ``kills``."""
    for _ in range(200):
        before = finished(database)
        process = started(suite, database, executor)
        try:
            time.sleep(chance.uniform(0.3, 20))  # Ray's own start takes eight seconds of it
            while struck.total() < kills and process.poll() is None:
                blow = chance.choice(BLOWS if executor == "ray" else (*BLOWS[:3], "stopped"))
                struck[blow] += strike(process, blow, chance)
                time.sleep(chance.uniform(0.3, 4))
            code = process.wait(timeout=ROUND_SECONDS)
        finally:
            end_all(process)
        after = finished(database)
        tell(f"{len(after)} finished; blows: {dict(struck)}")
        assert before.items() <= after.items(), "a finished trial was lost or ran again"
        assert not after or set(after.values()) == {1}
        if code == 0:
            return
    raise AssertionError("the suite never came to its end")


def soak(folder: Path, tiny_text: str, kills: int, seed: int, tell: Callable[[str], None]) -> None:
    suite = folder / "tiny.yaml"
    suite.write_text(suite_text(tiny_text))
    expected = undisturbed(suite, folder)
    chance, struck, episodes = random.Random(seed), Counter[str](), 0
    while struck.total() < kills:
        database = folder / f"{episodes}.duckdb"
        episode(suite, database, "inline" if episodes % 4 == 3 else "ray", chance, kills, struck, tell)
        assert numbers(database) == expected
        assert check(database) == []
        episodes += 1
        tell(f"{episodes} episodes, {struck.total()} blows: {dict(struck)}")


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_few_blows_lose_nothing(tmp_path: Path, tiny_text: str) -> None:
    soak(tmp_path, tiny_text, kills=8, seed=5, tell=lambda text: None)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(6 * 3600)
def test_hundreds_of_blows_lose_nothing(tmp_path: Path, tiny_text: str) -> None:
    soak(tmp_path, tiny_text, int(os.environ.get("HARNESS_SOAK_KILLS", "300")), 7, lambda text: print(text, flush=True))
