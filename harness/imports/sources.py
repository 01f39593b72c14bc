"""What a file or folder of results is, and its reader."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from harness.errors import HarnessError
from harness.imports import mlflow_store, optuna_studies, tensorboard, wandb_runs
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
        return mlflow_store.read_folder(path) if path.is_dir() else mlflow_store.read_database(path)
    if kind == "wandb":
        if not path.is_dir():
            raise HarnessError(f"{path}: name the run's folder (wandb/offline-run-…), or the export as a table")
        return wandb_runs.read_runs(path)
    if kind == "tensorboard":
        return tensorboard.read_events(path)
    if kind == "optuna":
        return optuna_studies.read_studies(path, "journal" if optuna_studies.is_journal(path) else "sqlite")
    if path.is_dir():
        raise HarnessError(f"{path} is a folder, no table")
    return read_rows(path, table)


def _kind_of(path: Path, table: str | None) -> str:
    if path.is_dir():
        return _kind_of_folder(path)
    if tensorboard.has_events(path):
        return "tensorboard"
    if path.suffix == ".wandb":
        raise HarnessError(
            f"{path}: name the folder that it is in ({path.parent}): its summary and configuration count too"
        )
    if path.suffix.lower() in (".log", ".journal", ".jsonl", ".json") and optuna_studies.is_journal(path):
        return "optuna"
    if table is None and _is_sqlite(path):
        tables = _tables(path)
        if tables >= mlflow_store.TABLES:
            return "mlflow"
        if tables >= optuna_studies.TABLES:
            return "optuna"
    if Path(path.name.removesuffix(".gz")).suffix.lower() not in SUFFIXES:
        raise HarnessError(
            f"{path}: unsupported file extension; supported are tables ({', '.join(SUFFIXES)}), databases of MLflow "
            "and Optuna, Optuna's journals and TensorBoard's event files; name the kind with --as"
        )
    return "table"


def _kind_of_folder(path: Path) -> str:
    if mlflow_store.is_store(path):
        return "mlflow"
    if wandb_runs.run_folders(path):
        return "wandb"
    if tensorboard.has_events(path):
        return "tensorboard"
    raise HarnessError(f"{path}: nothing in it is known; a folder of results is {FOLDERS}")


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(15) == b"SQLite format 3"


def _tables(path: Path) -> set[str]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error as error:
        raise HarnessError(f"{path}: cannot be read as an SQLite file: {error}") from None
    return {name for (name,) in rows}
