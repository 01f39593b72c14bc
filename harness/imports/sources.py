"""Detection of a source's kind, and its reader."""

from pathlib import Path

from harness.errors import HarnessError
from harness.imports import trackers, wandb_runs
from harness.imports.foreign import ForeignSource
from harness.imports.result_files import SUFFIXES
from harness.imports.tables import read_rows

KINDS = ("table", "mlflow", "wandb", "tensorboard", "optuna")
"""Valid values of ``--as``."""
FOLDERS = "an MLflow store (mlruns), W&B runs (wandb/offline-run-…) or a folder with TensorBoard's event files below it"


def read_source(path: Path, kind: str | None = None, table: str | None = None) -> ForeignSource:
    """Read a file or folder of results.

    Args:
        kind: one of ``KINDS``; None: as its names and first bytes say.
        table: its name, in a database of several tables.

    Raises:
        HarnessError: there is nothing, it is of an unknown kind, or damaged.
    """
    if not path.exists():
        raise HarnessError(f"no file or folder {path}")
    if not (path.is_file() or path.is_dir()):
        raise HarnessError(f"{path} is neither a file nor a folder")
    detected = kind or _kind_of(path, table)
    if table is not None and detected != "table":
        raise HarnessError(f"--table '{table}': {path} is read as {detected}; '--as table' reads one of its tables")
    source = _read(path, detected, table)
    if not source.runs:
        raise HarnessError(f"{path}: it has no run ({source.kind})")
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
        raise HarnessError(f"{path} is a folder, not a table")
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
            "and Optuna, Optuna's log files and TensorBoard's event files; name the kind with --as"
        )
    return "table"


def _kind_of_folder(path: Path) -> str:
    if trackers.is_mlflow(path):
        return "mlflow"
    if wandb_runs.run_folders(path):
        return "wandb"
    if trackers.has_events(path):
        return "tensorboard"
    raise HarnessError(f"{path}: unknown contents; a folder of results is {FOLDERS}")
