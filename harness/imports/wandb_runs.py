"""W&B's run folders, read without wandb: ``wandb/offline-run-*`` and ``wandb/run-*``.

``files/wandb-summary.json`` has the final numbers and ``files/config.yaml`` the configuration; what was logged on the
way, the run's name and its exit code stand in ``run-ID.wandb`` (``wandb_log``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.values import flat
from harness.errors import HarnessError
from harness.imports.folders import plain_yaml, sha256_of_files, text_of
from harness.imports.foreign import ForeignRun, ForeignSource, Point, by_step, logged_number
from harness.imports.wandb_log import WandbLog, read_log

RUN = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(?P<id>.+)")
"""The name of a run's folder."""


def run_folders(folder: Path) -> list[Path]:
    """The runs in a folder: itself, those in it, or those in its folder ``wandb``."""
    if _is_run(folder):
        return [folder]
    inside = [*folder.glob("*run-*"), *folder.glob("wandb/*run-*")]
    return sorted(path for path in inside if path.is_dir() and not path.is_symlink() and _is_run(path))


def _is_run(folder: Path) -> bool:
    if (folder / "files" / "wandb-summary.json").is_file():
        return True
    return RUN.fullmatch(folder.resolve().name) is not None and any(folder.glob("*.wandb"))


def read_runs(root: Path) -> ForeignSource:
    """The runs of a folder.

    Raises:
        HarnessError: a file is not what W&B writes.
    """
    runs, files, notes = [], [], []
    for folder in run_folders(root):
        read = _read(folder)
        runs.append(read.run)
        files += read.files
        notes += read.notes
    return ForeignSource(root, "W&B run folder", sha256_of_files(root, files), runs, notes=tuple(dict.fromkeys(notes)))


@dataclass(frozen=True, slots=True)
class _ReadRun:
    run: ForeignRun
    files: list[Path]
    notes: list[str]


def _read(folder: Path) -> _ReadRun:
    summary_file, config_file = folder / "files" / "wandb-summary.json", folder / "files" / "config.yaml"
    logs = sorted(folder.glob("*.wandb"))
    files = [file for file in (summary_file, config_file, *logs[:1]) if file.is_file()]
    log, notes = _log(folder, logs)
    summary = _summary(summary_file) if summary_file.is_file() else {}
    config = _config(config_file) if config_file.is_file() else dict(flat(log.config))
    series: dict[str, list[Point]] = {name: by_step(points) for name, points in log.history.items()}
    for name, value in summary.items() if summary_file.is_file() else log.summary.items():
        if (number := logged_number(value)) is not None:
            series.setdefault(name, []).append((None, number))
    match = RUN.fullmatch(folder.resolve().name)
    own = {"Name": log.name or folder.name, "id": match["id"] if match else folder.name, "folder": folder.name}
    own |= {key: value for key, value in (("group", log.group), ("job_type", log.job_type)) if value}
    ended = f"ended with exit code {log.exit_code}" if log.exit_code else ""
    numbers = {name: points for name, points in series.items() if not name.startswith("_")}
    return _ReadRun(ForeignRun(str(folder), {**own, **config}, numbers, ended), files, notes)


def _log(folder: Path, logs: list[Path]) -> tuple[WandbLog, list[str]]:
    """The log's contents, and notes on missing data."""
    lost = "its curves, its name and how it ended are not known: only final numbers are taken"
    if not logs:
        return WandbLog(), [f"{folder.name} has no run-….wandb: {lost}"]
    try:
        log = read_log(logs[0])
    except ValueError as error:
        return WandbLog(), [f"{logs[0].name} cannot be read ({error}): {lost}"]
    notes = [f"{logs[0].name} breaks off: {log.broken}"] if log.broken else []
    if log.unread:
        notes.append(f"{logs[0].name}: histograms, media and tables are left out ({', '.join(sorted(log.unread)[:5])})")
    return log, notes


def _summary(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(text_of(file))
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{file}: not JSON: {error}") from None
    if not isinstance(content, Mapping):
        raise HarnessError(f"{file}: an object of final numbers is expected")
    return dict(flat(content))


def _config(file: Path) -> dict[str, Any]:
    """``lr: {desc: null, value: 0.1}`` as ``lr: 0.1``; what W&B itself adds is left out."""
    content = {}
    for key, entry in plain_yaml(file).items():
        if key not in ("_wandb", "wandb_version"):
            content[key] = entry["value"] if isinstance(entry, Mapping) and "value" in entry else entry
    return dict(flat(content))
