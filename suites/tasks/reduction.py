"""UMAP in a separate process.

After UMAP has compiled and run in a process, torch trains several times slower there (measured with umap-learn 0.5.12),
and an embedding is the same for all arms of a seed: so it is computed beside the trial and cached.
"""

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
    """UMAP of rows (N, D) to (N, dimensions), cached (HarnessError on failure)."""
    try:
        tool = " ".join(f"{name}/{version(name)}" for name in ("umap-learn", "numba", "numpy"))
    except PackageNotFoundError as error:
        raise HarnessError("sensing: reduce umap needs umap-learn: pip install umap-learn, or reduce: none") from error
    content = hashlib.sha256(np.ascontiguousarray(flat).tobytes()).hexdigest()
    parts = ("umap/1", tool, content, str(flat.shape), f"{dimensions} {random_state}")
    values = cached(parts, ("values",), lambda: {"values": _embed(flat, dimensions, random_state)})["values"]
    return np.array(values, dtype=np.float32)


def _embed(flat: Amplitudes, dimensions: int, random_state: int) -> Amplitudes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "rows.npy", Path(folder) / "embedding.npy"
        np.save(source, flat)
        failure = _beside(json.dumps([str(source), str(target), dimensions, random_state]))
        if failure:
            raise HarnessError(f"sensing: UMAP of {flat.shape} to {dimensions} failed: {failure}")
        values: Amplitudes = np.load(target, allow_pickle=False)
        return values


class _Process:
    """The shared process of all embeddings: UMAP compiles for half a minute. It ends with its input."""

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
        """Return the error of an embedding, or ''."""
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
    """Embed the file of each input line into another; answer with errors."""
    from methods.alignment.help_set import reduce

    answers, sys.stdout = sys.stdout, sys.stderr  # keep UMAP's own output out of the answers
    for line in sys.stdin:
        source, target, dimensions, random_state = json.loads(line)
        try:
            rows = np.load(source, allow_pickle=False)
            np.save(target, reduce(rows, dimensions=dimensions, random_state=random_state))
            failed = ""
        except Exception as error:
            failed = f"{type(error).__name__}: {error}"
        print(json.dumps(failed), file=answers, flush=True)


if __name__ == "__main__":
    main()
