"""W&B's run folders, read without wandb: ``wandb/offline-run-*`` and ``wandb/run-*``.

``files/wandb-summary.json`` has the final numbers, ``files/config.yaml`` the configuration, and ``run-ID.wandb``
(``wandb_log``) the curves, the run's name and its exit code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from harness.base import yaml_nodes
from harness.base.values import flat
from harness.errors import HarnessError
from harness.imports.foreign import ForeignRun, ForeignSource, Point, by_step, logged_number, sha256_of_files
from harness.imports.wandb_log import WandbLog, read_log

RUN = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(?P<id>.+)")
"""The name of a run's folder."""
SUMMARY, CONFIG = Path("files", "wandb-summary.json"), Path("files", "config.yaml")
LOST = "its curves, its name and how it ended are not known: only final numbers are taken"


def run_folders(folder: Path) -> list[Path]:
    """The runs in a folder: itself, those in it, or those in its folder ``wandb``."""
    if _is_run(folder):
        return [folder]
    inside = [*folder.glob("*run-*"), *folder.glob("wandb/*run-*")]
    return sorted(path for path in inside if path.is_dir() and not path.is_symlink() and _is_run(path))


def _is_run(folder: Path) -> bool:
    if (folder / SUMMARY).is_file():
        return True
    return RUN.fullmatch(folder.resolve().name) is not None and any(folder.glob("*.wandb"))


def read_runs(root: Path) -> ForeignSource:
    """The runs of a folder.

    Raises:
        HarnessError: a file is not one of W&B's.
    """
    runs: list[ForeignRun] = []
    files: list[Path] = []
    notes: list[str] = []
    for folder in run_folders(root):
        logs = sorted(folder.glob("*.wandb"))[:1]
        files += [file for file in (folder / SUMMARY, folder / CONFIG, *logs) if file.is_file()]
        runs.append(_run(folder, _log(folder, logs, notes)))
    return ForeignSource(root, "W&B run folder", sha256_of_files(root, files), runs, notes=tuple(dict.fromkeys(notes)))


def _run(folder: Path, log: WandbLog) -> ForeignRun:
    summary = _summary(folder / SUMMARY) if (folder / SUMMARY).is_file() else log.summary
    series: dict[str, list[Point]] = {name: by_step(points) for name, points in log.history.items()}
    for name, number in summary.items():
        series.setdefault(name, []).append((None, number))
    numbers = {name: points for name, points in series.items() if not name.startswith("_")}
    config = log.config
    if (folder / CONFIG).is_file():  # lr: {desc: null, value: 0.1}
        entries = yaml_nodes.read(folder / CONFIG).plain().items()
        config = {
            key: entry["value"] if isinstance(entry, Mapping) and "value" in entry else entry
            for key, entry in entries
            if key not in ("_wandb", "wandb_version")
        }
    match = RUN.fullmatch(folder.resolve().name)
    own = {"Name": log.name or folder.name, "id": match["id"] if match else folder.name, "folder": folder.name}
    own |= {key: value for key, value in (("group", log.group), ("job_type", log.job_type)) if value}
    ended = f"ended with exit code {log.exit_code}" if log.exit_code else ""
    return ForeignRun(str(folder), {**own, **dict(flat(config))}, numbers, ended)


def _log(folder: Path, logs: list[Path], notes: list[str]) -> WandbLog:
    """The log's contents; adds notes on missing data."""
    if not logs:
        notes.append(f"{folder.name} has no run-….wandb: {LOST}")
        return WandbLog()
    try:
        log = read_log(logs[0])
    except ValueError as error:
        notes.append(f"{logs[0].name} cannot be read ({error}): {LOST}")
        return WandbLog()
    if log.broken:
        notes.append(f"{logs[0].name} breaks off: {log.broken}")
    if log.unread:
        names = ", ".join(sorted(log.unread)[:5])
        notes.append(f"{logs[0].name}: histograms, media and tables are left out ({names})")
    return log


def _summary(file: Path) -> dict[str, float]:
    """The final numbers of a run."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise HarnessError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start + 1}") from None
    except OSError as error:
        raise HarnessError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{file}: not JSON: {error}") from None
    if not isinstance(content, Mapping):
        raise HarnessError(f"{file}: an object of final numbers is expected")
    numbers = {name: logged_number(value) for name, value in flat(content)}
    return {name: number for name, number in numbers.items() if number is not None}
