"""The batch script of docs/cluster.md, run as a scheduler runs it: preempted in the middle, requeued, finished.

Short programs on PATH stand in for SLURM's; shell, Ray and harness are real.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from test_cluster import ROOT, done_in, free_port, until

from harness.store import open_reader

pytestmark = [pytest.mark.ray, pytest.mark.timeout(280)]

SRUN = """
import signal, subprocess, sys
words = sys.argv[1:]
tasks = 1
while words[0].startswith("-"):
    word = words.pop(0)
    if word.startswith("--ntasks="):
        tasks = int(word.partition("=")[2])
    elif word == "-w":
        words.pop(0)
    elif not word.startswith(("--nodes=", "--exclude=", "--overlap")):
        sys.exit(f"srun: unrecognized option '{word}'")
running = [subprocess.Popen(words) for _ in range(tasks)]
signal.signal(signal.SIGTERM, lambda *_: [one.terminate() for one in running])  # srun forwards most signals
sys.exit(max(abs(one.wait()) for one in running))
"""
SCONTROL = r"""
import os, sys
match sys.argv[1:]:
    case ["show", "hostnames", "node[1-2]"]:
        print("localhost\nother")
    case ["requeue", job] if job == os.environ["SLURM_JOB_ID"]:
        open(os.environ["FAKE_REQUEUED"], "a").write(job + "\n")
    case other:
        sys.exit(f"scontrol: {other}")
"""


def script_of_the_documents() -> str:
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    (result,) = re.findall(r"```sh\n(#!/bin/bash\n#SBATCH.*?)```", text, flags=re.DOTALL)
    return str(result)


class Slurm:
    """One allocation of two nodes, which are both this machine."""

    def __init__(self, folder: Path, suite: Path, database: Path) -> None:
        self.folder = folder
        self.requeued, self.port = folder / "requeued", free_port()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")},
            "PATH": f"{self._programs()}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "RAY_TMPDIR": str(folder),
            "RAY_worker_niceness": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "SLURM_JOB_ID": str(self.port),
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_NNODES": "2",
            "FAKE_REQUEUED": str(self.requeued),
        }
        (folder / "data").mkdir()
        script = script_of_the_documents()
        for there, here in {
            "/shared/data": str(folder / "data"),
            "/shared/results/harness.duckdb": str(database),
            "adamp --scale paper": f"{suite} --no-report --quiet",
            "--port 6379": f"--port {self.port} --num-cpus 1",
            "$head:6379": f"$head:{self.port}",
            "$head/6379": f"$head/{self.port}",
            "ray start --address": "ray start --num-cpus 1 --address",
            "sleep 20 ": "sleep 2 ",
        }.items():
            assert there in script, f"the script of the documents has no '{there}'"
            script = script.replace(there, here)
        self.script = folder / "job.sh"
        self.script.write_text(script)
        self._job: subprocess.Popen[str] | None = None

    def _programs(self) -> Path:
        programs = self.folder / "bin"
        programs.mkdir()
        for name, code in {"srun": SRUN, "scontrol": SCONTROL}.items():
            (programs / f"{name}.py").write_text(code)
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {programs / name}.py "$@"\n')
        for name, module in {"ray": "ray.scripts.scripts", "harness": "harness"}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        for path in programs.iterdir():
            path.chmod(0o755)
        return programs

    def sbatch(self) -> subprocess.Popen[str]:
        """Begin the job, as its first node does: bash reads the script."""
        log = (self.folder / "job.log").open("a")
        self._job = subprocess.Popen(
            ["bash", str(self.script)], env=self.environment, stdout=log, stderr=log, text=True, start_new_session=True
        )
        return self._job

    def clean(self) -> None:
        """Kill all steps of the job, wherever they run."""
        until(lambda: not self._kill())

    def _kill(self) -> int:
        killed = 0
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get("SLURM_JOB_ID") == self.environment["SLURM_JOB_ID"]
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    killed += 1
        return killed

    def wait(self, true: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"it took too long; the job's log:\n{self.log()}"
            time.sleep(0.2)

    def log(self) -> str:
        return (self.folder / "job.log").read_text()


@pytest.fixture
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hs"))  # sockets below it have short names only
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slurm(place: Path, tiny: Path, tmp_path: Path) -> Iterator[Slurm]:
    text = tiny.read_text().replace("own_sd: 0.3}", "own_sd: 0.3, step_seconds: 0.05}")
    tiny.write_text(text.replace("seeds: {min: 3", "seeds: {min: 5"))
    created = Slurm(place, tiny, tmp_path / "harness.duckdb")
    try:
        yield created
    finally:
        created.clean()


def test_a_job_is_preempted_asks_to_run_again_and_finishes(slurm: Slurm, tmp_path: Path) -> None:
    database = tmp_path / "harness.duckdb"
    subprocess.run(["ray", "get-auth-token", "--generate"], env=slurm.environment, check=True, capture_output=True)
    job = slurm.sbatch()
    slurm.wait(lambda: done_in(database) >= 2 or job.poll() is not None, 120)
    assert job.poll() is None, slurm.log()
    job.send_signal(signal.SIGTERM)  # --signal=B:TERM@120: to the shell alone
    slurm.wait(lambda: job.poll() is not None, 60)
    assert slurm.requeued.exists(), slurm.log()
    slurm.clean()
    with open_reader(database) as reader:
        first = {str(trial) for (trial,) in reader.query("SELECT trial_id FROM trials WHERE status = 'done'").rows}
        assert reader.query("SELECT status FROM runs").rows == [("cancelled",)]
    assert 2 <= len(first) < 10

    job = slurm.sbatch()
    slurm.wait(lambda: job.poll() is not None, 150)
    assert job.returncode == 0, slurm.log()
    assert slurm.requeued.read_text().count("\n") == 1
    with open_reader(database) as reader:
        assert reader.query("SELECT count(*) FROM trials WHERE status = 'done'").rows == [(10,)]
        assert [status for (status,) in reader.query("SELECT status FROM runs ORDER BY started_at").rows] == [
            "cancelled",
            "done",
        ]
        reused = "SELECT trial_id FROM run_trials WHERE reused"
        assert {str(trial) for (trial,) in reader.query(reused).rows} == first
