"""UMAP in a process of its own.

After UMAP has compiled and run in a process, torch trains several times slower there (measured with umap-learn 0.5.12),
and an embedding is the same for all arms of a seed: so it is made beside the trial and kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from suites.data.cache import cached
from suites.data.csi_domains import Amplitudes

LONGEST_SECONDS = 1800


def embedding(flat: Amplitudes, dimensions: int, random_state: int) -> Amplitudes:
    """UMAP of rows (N, D) to (N, dimensions), from the cache where it is there; HarnessError where UMAP fails."""
    try:
        tool = " ".join(f"{name}/{version(name)}" for name in ("umap-learn", "numba", "numpy"))
    except PackageNotFoundError as error:
        raise HarnessError("sensing: reduce umap needs umap-learn: pip install umap-learn, or reduce: none") from error
    content = hashlib.sha256(np.ascontiguousarray(flat).tobytes()).hexdigest()
    parts = ("umap/1", tool, content, str(flat.shape), f"{dimensions} {random_state}")
    values = cached(parts, ("values",), lambda: {"values": _made(flat, dimensions, random_state)})["values"]
    return np.array(values, dtype=np.float32)


def _made(flat: Amplitudes, dimensions: int, random_state: int) -> Amplitudes:
    with tempfile.TemporaryDirectory() as folder:
        given, wanted = Path(folder) / "rows.npy", Path(folder) / "embedding.npy"
        np.save(given, flat)
        failed = _beside(json.dumps([str(given), str(wanted), dimensions, random_state]))
        if failed:
            raise HarnessError(f"sensing: UMAP of {flat.shape} to {dimensions} failed: {failed}")
        made: Amplitudes = np.load(wanted, allow_pickle=False)
        return made


class _Process:
    """One process for all embeddings of this one: UMAP compiles for half a minute, and only before its first.

    It ends with its standard input, so that it never outlives a trial's process however that ends.
    """

    def __init__(self) -> None:
        threads = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        around = {
            **os.environ,
            **threads,
            "HARNESS_KEPT": "1",
            "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        }
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115 (open for as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=around,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
        )

    def ask(self, line: str) -> str:
        """What went wrong with an embedding, '' where nothing did."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(line, file=self.process.stdin, flush=True)
            ready, _, _ = select.select([self.process.stdout], [], [], LONGEST_SECONDS)
            answer = self.process.stdout.readline() if ready else ""
        except BrokenPipeError:
            answer = ""
        if answer:
            return str(json.loads(answer))
        self.process.kill()
        self.process.wait()
        self.complaints.seek(0)
        last = self.complaints.read().decode(errors="replace").strip().splitlines()[-1:]
        return last[0] if last else "no message"


_running: list[_Process] = []


def _beside(line: str) -> str:
    if not _running or _running[0].process.poll() is not None:
        _running[:] = [_Process()]
    return _running[0].ask(line)


def main() -> None:
    """Embed the rows of a file into another for each line of standard input, and answer what failed."""
    from methods.alignment.help_set import reduce

    answers, sys.stdout = sys.stdout, sys.stderr  # whatever UMAP prints is no answer
    for line in sys.stdin:
        given, wanted, dimensions, random_state = json.loads(line)
        try:
            rows = np.load(given, allow_pickle=False)
            np.save(wanted, reduce(rows, dimensions=dimensions, random_state=random_state).values)
            failed = ""
        except Exception as error:
            failed = f"{type(error).__name__}: {error}"
        print(json.dumps(failed), file=answers, flush=True)


if __name__ == "__main__":
    main()
