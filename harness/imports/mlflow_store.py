"""MLflow's stores, read without MLflow: the folder ``mlruns`` and its SQLite database.

A folder has ``<experiment>/<run>/`` with ``meta.yaml``, a file a parameter in ``params/``, a tag in ``tags/``, and
a metric in ``metrics/``, whose lines are "time value step". Sources: mlflow/store/tracking/file_store.py; of the
tables mlflow/store/tracking/dbmodels/models.py.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from harness.data.checksums import checksum
from harness.errors import HarnessError
from harness.imports.folders import plain_yaml, sha256_of_files, text_of
from harness.imports.foreign import ForeignRun, ForeignSource, by_step

TABLES = {"experiments", "runs", "params", "tags", "metrics"}
"""Tables of a database that is a store of MLflow."""
STATES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
"""``status`` in ``meta.yaml``: mlflow.entities.RunStatus."""
LARGEST = 1.7976931348623157e308
"""What the database has for an infinite value."""


def is_store(folder: Path) -> bool:
    """Whether a folder is ``mlruns``, an experiment of it, or a run."""
    return any(_runs(folder))


def _runs(folder: Path) -> Iterator[Path]:
    """The ``meta.yaml`` of every run in a store, an experiment or a run."""
    for pattern in ("meta.yaml", "*/meta.yaml", "*/*/meta.yaml"):
        for meta in sorted(folder.glob(pattern)):
            if (meta.parent / "metrics").is_dir() or (meta.parent / "params").is_dir():
                yield meta


def read_folder(folder: Path) -> ForeignSource:
    """The runs of a folder.

    Raises:
        HarnessError: a file is not what MLflow writes.
    """
    files: list[Path] = []
    runs, deleted = [], 0
    for meta in _runs(folder):
        info = plain_yaml(meta)
        if not info.keys() & {"run_id", "run_uuid"}:
            continue  # a logged model has parameters and metrics too
        if info.get("lifecycle_stage", "active") != "active":
            deleted += 1
            continue
        read = [meta, *(file for part in ("params", "tags", "metrics") for file in _files(meta.parent / part))]
        files += read
        runs.append(_folder_run(folder, meta.parent, info, read))
    return ForeignSource(folder, "MLflow store", sha256_of_files(folder, files), runs, notes=_deleted(deleted))


def _deleted(count: int) -> tuple[str, ...]:
    runs = "1 run is" if count == 1 else f"{count} runs are"
    return (f"{runs} deleted there and left out",) if count else ()


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []


def _folder_run(store: Path, folder: Path, info: Mapping[str, Any], files: list[Path]) -> ForeignRun:
    named: dict[str, dict[str, Path]] = {"params": {}, "tags": {}, "metrics": {}}
    for file in files[1:]:
        part, *inner = file.relative_to(folder).parts  # a name with slashes is a folder
        named[part]["/".join(inner)] = file
    params = {name: text_of(file).strip() for name, file in named["params"].items()}
    tags = {name: text_of(file).strip() for name, file in named["tags"].items()}
    above = folder.parent / "meta.yaml"
    experiment = str(plain_yaml(above).get("name", folder.parent.name)) if above.is_file() else folder.parent.name
    state = info.get("status")
    known = STATES.get(state, str(state)) if isinstance(state, int) else str(state or "FINISHED")
    name = str(info.get("run_name") or tags.get("mlflow.runName") or folder.name)
    place = f"{store}/{folder.relative_to(store).as_posix()}" if folder != store else str(store)
    series = {name: by_step(_lines(file)) for name, file in named["metrics"].items()}
    return ForeignRun(place, _fields(params, tags, experiment, name, folder.name, known), series, _ended(known))


def _lines(file: Path) -> dict[int, float]:
    """Value by step of a metric's file; MLflow takes the last step as the metric's value."""
    points: dict[int, float] = {}
    for number, line in enumerate(text_of(file).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            value, step = float(words[1]), int(words[2]) if len(words) > 2 else 0
        except (IndexError, ValueError):
            raise HarnessError(f"{file}:{number}: '{line[:60]}' is no line of a metric (time, value, step)") from None
        points[step] = value
    return points


def _fields(
    params: Mapping[str, Any], tags: Mapping[str, Any], experiment: str, name: str, run_id: str, status: str
) -> dict[str, Any]:
    """Parameters by their names, tags as ``tags.NAME``, and what the run itself has."""
    own = {"experiment": experiment, "run": name, "run_id": run_id, "status": status}
    return {**own, **{f"tags.{key}": value for key, value in tags.items()}, **params}


def _ended(status: str) -> str:
    return "" if status == "FINISHED" else f"is {status} in MLflow"


def read_database(path: Path) -> ForeignSource:
    """The runs of a database.

    Raises:
        HarnessError: its tables lack what MLflow's have.
    """
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            runs, deleted = _database_runs(connection, path)
        except sqlite3.Error as error:
            raise HarnessError(f"{path}: cannot be read as a store of MLflow: {error}") from None
    return ForeignSource(path, "MLflow store", checksum(path), runs, notes=_deleted(deleted))


def _database_runs(connection: sqlite3.Connection, path: Path) -> tuple[list[ForeignRun], int]:
    experiments = dict(connection.execute("SELECT CAST(experiment_id AS TEXT), name FROM experiments").fetchall())
    fields: dict[str, dict[str, dict[str, Any]]] = {"params": {}, "tags": {}}
    for table, known in fields.items():
        for run, key, value in connection.execute(f"SELECT run_uuid, key, value FROM {table} ORDER BY key"):
            known.setdefault(run, {})[key] = value
    series: dict[str, dict[str, dict[int, float]]] = {}
    sql = "SELECT run_uuid, key, value, step, is_nan FROM metrics ORDER BY timestamp"
    for run, key, value, step, is_nan in connection.execute(sql):
        series.setdefault(run, {}).setdefault(key, {})[int(step or 0)] = _value(value, is_nan)
    runs, deleted = [], 0
    sql = "SELECT run_uuid, name, status, lifecycle_stage, CAST(experiment_id AS TEXT) FROM runs ORDER BY start_time"
    for run, name, status, stage, experiment in connection.execute(sql).fetchall():
        if stage != "active":
            deleted += 1
            continue
        tags = fields["tags"].get(run, {})
        own = (experiments.get(experiment, experiment), name or tags.get("mlflow.runName") or run, run, str(status))
        known = _fields(fields["params"].get(run, {}), tags, *own)
        numbers = {key: by_step(points) for key, points in series.get(run, {}).items()}
        runs.append(ForeignRun(f"{path}, run {run}", known, numbers, _ended(str(status))))
    return runs, deleted


def _value(value: float | None, is_nan: int | None) -> float:
    if is_nan or value is None:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else float(value)
