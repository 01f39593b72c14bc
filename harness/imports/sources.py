"""What a file or folder of results is, and its reader."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.imports import trackers, wandb_runs
from harness.imports.foreign import ForeignSource
from harness.imports.result_files import SUFFIXES
from harness.imports.tables import read_rows

KINDS = ("table", "mlflow", "wandb", "tensorboard", "optuna")
"""What ``--as`` may say."""
FOLDERS = "an MLflow store (mlruns), W&B runs (wandb/offline-run-…) or a folder with TensorBoard's event files below it"


def read_source(path: Path, kind: str | None = None, table: str | None = None) -> ForeignSource:
    """Read a file or folder of results.

    Args:
        kind: one of ``KINDS``; None: as its names and first bytes say.
        table: its name, in a database of several tables.

    Raises:
        HarnessError: there is nothing, it is of no known kind, or it is not what it says.
    """
    if not path.exists():
        raise HarnessError(f"no file or folder {path}")
    if not (path.is_file() or path.is_dir()):
        raise HarnessError(f"{path} is neither a file nor a folder")
    found = kind or _kind_of(path, table)
    if table is not None and found != "table":
        raise HarnessError(f"--table '{table}': {path} is read as {found}; '--as table' reads one of its tables")
    source = _read(path, found, table)
    if not source.runs:
        raise HarnessError(f"{path}: no run in it ({source.kind})")
    return source


def _read(path: Path, kind: str, table: str | None) -> ForeignSource:
    if kind == "mlflow":
        return trackers.read_mlflow(path)
    if kind == "wandb":
        if not path.is_dir():
            raise HarnessError(f"{path}: name the run's folder (wandb/offline-run-…), or the export as a table")
        return wandb_runs.read_runs(path)
    if kind == "tensorboard":
        return trackers.read_tensorboard(path)
    if kind == "optuna":
        return trackers.read_optuna(path)
    if path.is_dir():
        raise HarnessError(f"{path} is a folder, no table")
    return read_rows(path, table)


def _kind_of(path: Path, table: str | None) -> str:
    if path.is_dir():
        return _kind_of_folder(path)
    if trackers.has_events(path):
        return "tensorboard"
    if path.suffix == ".wandb":
        raise HarnessError(
            f"{path}: name the folder that it is in ({path.parent}): its summary and configuration count too"
        )
    if path.suffix.lower() in (".log", ".journal", ".jsonl", ".json") and trackers.is_optuna_journal(path):
        return "optuna"
    database = trackers.kind_of_database(path) if table is None else None
    if database is not None:
        return database
    if Path(path.name.removesuffix(".gz")).suffix.lower() not in SUFFIXES:
        raise HarnessError(
            f"{path}: unsupported file extension; supported are tables ({', '.join(SUFFIXES)}), databases of MLflow "
            "and Optuna, Optuna's journals and TensorBoard's event files; name the kind with --as"
        )
    return "table"


def _kind_of_folder(path: Path) -> str:
    if trackers.is_mlflow(path):
        return "mlflow"
    if wandb_runs.run_folders(path):
        return "wandb"
    if trackers.has_events(path):
        return "tensorboard"
    raise HarnessError(f"{path}: nothing in it is known; a folder of results is {FOLDERS}")
