"""UMAP in a process of its own.

After UMAP has compiled and run in a process, torch trains several times slower there (measured with umap-learn 0.5.12),
and an embedding is the same for all arms of a seed: so it is made beside the trial and kept in the cache.
"""

from __future__ import annotations

import hashlib
import os
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
        threads = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        command = [sys.executable, "-m", __name__, str(given), str(wanted), str(dimensions), str(random_state)]
        around = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
        done = subprocess.run(command, env=around, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise HarnessError(f"sensing: UMAP of {flat.shape} to {dimensions} failed: {last[0]}")
        made: Amplitudes = np.load(wanted, allow_pickle=False)
        return made


def main(given: str, wanted: str, dimensions: str, random_state: str) -> None:
    """Read rows, write their embedding."""
    from methods.alignment.help_set import reduce

    rows = np.load(given, allow_pickle=False)
    np.save(wanted, reduce(rows, dimensions=int(dimensions), random_state=int(random_state)).values)


if __name__ == "__main__":
    main(*sys.argv[1:])
