"""Where trackers write: ``NAME:FOLDER`` as a person types it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from harness.errors import HarnessError, choices
from harness.results.trackers.records import TrackedTrial


class Tracker(Protocol):
    """Takes trials one by one; a trial that is written again replaces what was written of it."""

    def write(self, trial: TrackedTrial) -> Path:
        """Write a trial, and return where it stands."""


def folder_of(text: str, names: Sequence[str]) -> tuple[str, Path]:
    """Tracker and folder of ``mlflow:./mlruns``, ``mlflow:file:///data/mlruns`` or ``tensorboard:DIR``.

    Raises:
        HarnessError: no such tracker, or no folder that can be written.
    """
    name, colon, where = text.partition(":")
    if name not in names:
        raise HarnessError(f"--track '{text}': no tracker '{name}'; {choices(list(names), name)} (as mlflow:./mlruns)")
    if not colon or not where:
        raise HarnessError(f"--track '{text}': a folder is expected after '{name}:', as in {name}:./runs")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", where):
        parts = urlsplit(where)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            raise HarnessError(
                f"--track '{text}': only folders are written, not {parts.scheme}: "
                f"'{name}:./runs' or 'file:///…'; servers can import such a folder afterwards"
            )
        where = unquote(parts.path)
    folder = Path(where).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"--track '{text}': {folder} is no folder that can be written: {error.strerror}") from error
    return name, folder
