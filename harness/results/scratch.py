"""A store for a run that is to leave nothing: a database and its folders of its own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.base.folders import remove


@contextlib.contextmanager
def scratch_store(*, keep: bool = False) -> Iterator[Path]:
    """Where the database of a scratch run goes, in a new folder; with it everything is removed, unless ``keep``."""
    folder = Path(tempfile.mkdtemp(prefix="harness-scratch-"))
    try:
        yield folder / "harness.duckdb"
    finally:
        if not keep:
            remove(folder)
