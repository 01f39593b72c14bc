"""What a trial costs beside its training: 200 and 1,000 trials that do nothing, as a user runs them.

    pytest tests/performance/test_trial_overhead.py -m slow -s

``first``: seconds from the command to its first result. ``a trial``: milliseconds between the first result and the
last, a trial. ``command``: processor seconds of the command's own process, a trial; workers and Ray's daemons are not
in it.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from harness.suite import load_suite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def outcomes(database: Path) -> list[float]:
    """When each trial ended, in seconds since 1970."""
    times = []
    for file in database.with_name(database.name + ".journal").iterdir():
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        events = [json.loads(line) for line in content.splitlines()]
        times += [datetime.fromisoformat(event["at"]).timestamp() for event in events if event["kind"] == "outcome"]
    return sorted(times)


def measured(suite: Path, executor: str, seeds: int, folder: Path) -> tuple[float, float, float, float]:
    """Seconds to the first result, milliseconds a trial, the command's processor seconds a trial, seconds in all."""
    database = folder / f"{executor}-{seeds}.duckdb"
    command = [sys.executable, "-m", "harness", "run", str(suite), "--no-report", "--quiet", "--seeds", str(seeds)]
    began = time.time()
    process = subprocess.Popen([*command, "--executor", executor, "--db", str(database)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    whole = time.time() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    ended = outcomes(database)
    assert len(ended) == 2 * seeds
    spent = used.ru_utime + used.ru_stime
    return ended[0] - began, 1e3 * (ended[-1] - ended[0]) / (len(ended) - 1), spent / len(ended), whole


@pytest.mark.ray
def test_a_trial_that_does_nothing(tiny: Path, tmp_path: Path) -> None:
    tiny.write_text(tiny.read_text().replace("steps: 20", "steps: 1").replace("primary: true", "primary: false"))
    assert load_suite(tiny).name == "tiny"
    print(f"\n{'':10}{'trials':>8}{'first, s':>10}{'a trial, ms':>13}{'command, s':>12}{'in all, s':>11}")
    for executor in ("ray", "inline"):
        for seeds in (100, 500):
            first, each, command, whole = measured(tiny, executor, seeds, tmp_path)
            print(f"{executor:10}{2 * seeds:8}{first:10.2f}{each:13.2f}{command:12.4f}{whole:11.1f}")
