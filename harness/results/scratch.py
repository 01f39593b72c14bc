"""A temporary store, for a run that stores nothing."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.base.folders import remove


@contextlib.contextmanager
def scratch_store() -> Iterator[Path]:
    """The database of a scratch run, in a new folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="harness-scratch-"))
    try:
        yield folder / "harness.duckdb"
    finally:
        remove(folder)
