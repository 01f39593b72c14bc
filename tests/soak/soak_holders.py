"""A shell that holds the database open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOLD = """
import sys, time, duckdb
path, read_only = sys.argv[1], sys.argv[2] == "read-only"
while True:
    try:
        held = duckdb.connect(path, read_only=read_only)
        break
    except duckdb.Error:  # ours has it for a moment, or is making it
        time.sleep(0.005)
print("held", flush=True)
sys.stdin.read()
"""


class Holder:
    """Another process that holds DuckDB's lock on a file, until :meth:`let_go`."""

    def __init__(self, database: Path, mode: str) -> None:
        command = [sys.executable, "-c", HOLD, str(database), mode]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> None:
        """Until it holds the file."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"

    def let_go(self) -> None:
        """End it: a lock goes with its process."""
        self._process.kill()
        self._process.communicate()
