"""Three writers and up to ten readers of one database: all finish, and no answer goes back in time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from soak_runs import ROUND_SECONDS, synthetic
from waiting import until

from harness.store.rebuild import check

READER = """
import json, sys, time
from pathlib import Path
from harness.results.serve import run_progress
from harness.store import open_reader

database, kind, stop, counts = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), []
kept = open_reader(database).__enter__() if kind == "kept" else None
while not stop.exists():
    reader = kept or open_reader(database).__enter__()
    if kind == "progress":
        run_progress(reader)
    counts.append(reader.query("SELECT count(*) FROM trials WHERE status = 'done'").rows[0][0])
    if kept is None:
        reader.__exit__(None, None, None)
    time.sleep(0.2)
print(json.dumps(counts))
"""
READERS = ("fresh",) * 5 + ("kept",) * 3 + ("progress",) * 2
SWEEP = """
sweep:
  arms: [base, better]
  fresh: 2
  batch: 4
  spaces:
    "*": {optimizer.lr: {low: 1.0e-3, high: 1.0, log: true}, optimizer.momentum: {choices: [0.0]},
          optimizer.weight_decay: {choices: [0.0]}}
"""


def process(*command: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("seeds", "budget", "kinds"),
    [(4, 2, ("fresh", "kept", "progress")), pytest.param(12, 24, READERS, marks=pytest.mark.slow)],
)
def test_two_runs_a_sweep_and_readers(
    tmp_path: Path, tiny_text: str, seeds: int, budget: int, kinds: tuple[str, ...]
) -> None:
    database, stop = tmp_path / "many.duckdb", tmp_path / "stop"
    (first,) = synthetic(tmp_path, tiny_text + SWEEP, seeds, pause=0.01)
    second = tmp_path / "other.yaml"
    second.write_text(Path(first).read_text().replace("suite: tiny", "suite: other").replace("3.0}", "1.0}"))
    common = ("--executor", "inline", "--quiet", "--db", str(database))
    sweep = ("sweep", first, "--benchmark", "known", "--budget", str(budget))
    words = (("run", first, "--no-report"), ("run", str(second), "--no-report"), sweep)
    writers = [process("-m", "harness", *item, *common, folder=tmp_path) for item in words]
    until(database.exists)
    readers = [process("-c", READER, str(database), kind, str(stop), folder=tmp_path) for kind in kinds]
    try:
        ends = [(writer.communicate(timeout=ROUND_SECONDS)[1], writer.returncode) for writer in writers]
    finally:
        stop.touch()
        for writer in writers:
            writer.kill()
    answers = [reader.communicate(timeout=ROUND_SECONDS) for reader in readers]
    assert [code for _, code in ends] == [0, 0, 0], ends
    assert [reader.returncode for reader in readers] == [0] * len(readers), [err for _, err in answers]
    for out, _ in answers:
        counts = json.loads(out)
        assert counts == sorted(counts), "an answer went back in time"
    assert check(database) == []
