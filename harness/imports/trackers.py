"""Runs of MLflow, TensorBoard and Optuna, read by these tools' own clients.

The readers open copies or links, because the clients write into the stores.
"""

from __future__ import annotations

import math
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.event_files import PATTERN, scalars_of
from harness.base.extras import mlflow_client
from harness.data.checksums import checksum
from harness.errors import HarnessError, first_line
from harness.imports.foreign import ForeignRun, ForeignSource, Point, by_step, logged_number, sha256_of_files

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MLFLOW_TABLES = {"experiments", "runs", "params", "tags", "metrics"}
OPTUNA_TABLES = {"studies", "trials", "trial_values", "version_info"}
"""Tables by which a database is known to be the store of a tool."""
LARGEST = 1.7976931348623157e308
"""Stored by MLflow's database for an infinite value."""


def kind_of_database(path: Path) -> str | None:
    """``mlflow`` or ``optuna`` for their SQLite databases; None for any other file."""
    with path.open("rb") as file:
        if file.read(15) != b"SQLite format 3":
            return None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error as error:
        raise HarnessError(f"{path}: not a readable SQLite file: {error}") from None
    tables = {name for (name,) in rows}
    return "mlflow" if tables >= MLFLOW_TABLES else "optuna" if tables >= OPTUNA_TABLES else None


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """A copy of a database with its write-ahead log, or a log."""
    with tempfile.TemporaryDirectory(prefix="harness-import-") as folder:
        copy = Path(folder) / "store"
        for end in ("", "-wal"):
            if (part := path.with_name(path.name + end)).is_file():
                shutil.copyfile(part, copy.with_name(copy.name + end))
        yield copy


# MLflow


def is_mlflow(folder: Path) -> bool:
    """True for a folder ``mlruns``, or an experiment or run of one."""
    return any(_metadata(folder))


def _metadata(folder: Path) -> Iterator[Path]:
    for pattern in ("meta.yaml", "*/meta.yaml", "*/*/meta.yaml"):
        for meta in sorted(folder.glob(pattern)):
            if (meta.parent / "metrics").is_dir() or (meta.parent / "params").is_dir():
                yield meta


def read_mlflow(path: Path) -> ForeignSource:
    """The runs of an MLflow store: its SQLite database, its folder, or an experiment or run of that.

    Raises:
        HarnessError: MLflow is not installed, or cannot read it.
    """
    if path.is_file():
        with _copied(path) as copy:
            runs, deleted = _mlflow_runs(f"sqlite:///{copy.as_posix()}", path)
        sha256 = checksum(path)
    else:
        metadata = list(_metadata(path))
        files = [file for meta in metadata for file in _run_files(meta)]
        with tempfile.TemporaryDirectory(prefix="harness-import-") as folder:
            names = _linked(metadata, Path(folder))
            runs, deleted = _mlflow_runs(Path(folder).as_uri(), path)
        runs = [run for run in runs if run.fields["run_id"] in names]
        sha256 = sha256_of_files(path, files)
    notes = (f"deleted in MLflow and left out: {deleted} run{'s' * (deleted != 1)}",) if deleted else ()
    return ForeignSource(path, "MLflow store", sha256, runs, notes=notes)


def _run_files(meta: Path) -> list[Path]:
    parts = (meta.parent / part for part in ("params", "tags", "metrics"))
    return [meta, *(file for part in parts for file in part.rglob("*") if file.is_file())]


def _linked(metadata: list[Path], store: Path) -> set[str]:
    """Links to the experiments of these runs in an empty store; the runs' names."""
    for experiment in {meta.parent.parent.resolve() for meta in metadata}:
        if (experiment / "meta.yaml").is_file():
            (store / experiment.name).symlink_to(experiment, target_is_directory=True)
    return {meta.parent.resolve().name for meta in metadata}


def _mlflow_runs(uri: str, path: Path) -> tuple[list[ForeignRun], int]:
    """The active runs of a store, and how many are deleted."""
    client = mlflow_client(uri)
    runs: list[ForeignRun] = []
    deleted = 0
    try:
        experiments = client.search_experiments()
        for experiment in experiments:
            token = None
            while token is None or token:
                page = client.search_runs(
                    [experiment.experiment_id], run_view_type=3, order_by=["attributes.start_time"], page_token=token
                )
                for run in page:
                    if run.info.lifecycle_stage == "active":
                        runs.append(_mlflow_run(client, path, experiment.name, run))
                    else:
                        deleted += 1
                token = page.token or ""
    except HarnessError:
        raise
    except Exception as error:  # of MLflow, SQLAlchemy or YAML: whatever the store provokes
        raise HarnessError(f"{path}: MLflow cannot read it: {first_line(error)[:200]}") from None
    return runs, deleted


def _mlflow_run(client: Any, path: Path, experiment: str, run: Any) -> ForeignRun:
    info, data = run.info, run.data
    series: dict[str, list[Point]] = {}
    for name in data.metrics:
        history = client.get_metric_history(info.run_id, name)
        series[name] = by_step({point.step: _finite(point.value) for point in history})
    own = {"experiment": experiment, "run": info.run_name or info.run_id, "run_id": info.run_id, "status": info.status}
    fields = {**own, **{f"tags.{key}": value for key, value in data.tags.items()}, **data.params}
    ended = "" if info.status == "FINISHED" else f"is {info.status} in MLflow"
    return ForeignRun(f"{path}, run {info.run_id}", fields, series, ended)


def _finite(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else float(value)


# TensorBoard


def has_events(path: Path) -> bool:
    """True for an event file or a folder with one."""
    return ".tfevents." in path.name if path.is_file() else next(path.rglob(PATTERN), None) is not None


def read_tensorboard(path: Path) -> ForeignSource:
    """The runs below a folder, in the order of their paths; ``path`` is the field with a run's path below it.

    The files of a folder belong to one training that was restarted: a later file replaces the steps it repeats.

    Raises:
        HarnessError: TensorBoard is not installed, or no file has a scalar.
    """
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else sorted(file for file in path.rglob(PATTERN) if file.is_file())
    folders: dict[Path, dict[str, dict[int, float]]] = {}
    for file in files:  # their names begin with the time
        series = folders.setdefault(file.parent, {})
        for step, tag, value in scalars_of(file):
            series.setdefault(tag, {})[step] = value
    if not any(folders.values()):
        raise HarnessError(f"{path}: no scalar in {len(files)} event file{'s' * (len(files) != 1)}")
    runs, empty = [], []
    for folder, series in sorted(folders.items()):
        place = folder.relative_to(root).as_posix()
        if not series:
            empty.append(place)
            continue
        fields = {"path": place, "run": folder.name, "above": folder.parent.name}
        runs.append(ForeignRun(str(folder), fields, {tag: by_step(points) for tag, points in series.items()}))
    notes = (f"no scalar in {', '.join(empty[:5])}",) if empty else ()
    return ForeignSource(path, "TensorBoard folder", sha256_of_files(root, files), runs, notes=notes)


# Optuna


def is_optuna_journal(path: Path) -> bool:
    """True for a file of Optuna's JournalStorage."""
    with path.open("rb") as file:
        first = file.readline(4096)
    return first.startswith(b"{") and b'"op_code"' in first and b'"worker_id"' in first


def read_optuna(path: Path) -> ForeignSource:
    """Every trial of an SQLite database or a JournalStorage file.

    Raises:
        HarnessError: Optuna cannot read it.
    """
    import optuna
    from optuna.storages import RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    runs: list[ForeignRun] = []
    with _copied(path) as copy:
        try:
            journal = is_optuna_journal(path)
            storage = (
                JournalStorage(JournalFileBackend(str(copy))) if journal else RDBStorage(f"sqlite:///{copy.as_posix()}")
            )
            for summary in optuna.get_all_study_summaries(storage):
                study = optuna.load_study(study_name=summary.study_name, storage=storage)
                for trial in study.get_trials(deepcopy=False):
                    runs.append(_optuna_run(path, summary.study_name, study.metric_names, trial))
        except Exception as error:  # of Optuna, SQLAlchemy or JSON: whatever the file provokes
            raise HarnessError(f"{path}: Optuna cannot read it: {first_line(error)[:200]}") from None
        finally:
            optuna.logging.set_verbosity(before)
    if not runs:
        raise HarnessError(f"{path}: no study in it has a trial")
    return ForeignSource(path, "Optuna study", checksum(path), runs)


def _optuna_run(path: Path, study: str, metrics: list[str] | None, trial: FrozenTrial) -> ForeignRun:
    """A trial: its objectives are ``value``, or as the study names them; intermediate values belong to the first."""
    values: list[Any] = list(trial.values or ())
    several = [f"value_{number}" for number in range(len(values))]
    names = metrics or (several if len(values) > 1 else ["value"])
    series: dict[str, list[Point]] = {name: [] for name in names}
    series[names[0]] += sorted(trial.intermediate_values.items())
    for name, value in zip(names, values, strict=False):
        series[name].append((None, float(value)))
    for name, attribute in trial.user_attrs.items():
        number = logged_number(attribute)
        if number is not None and name not in series:
            series[name] = [(None, number)]
    own = {"study": study, "number": trial.number, "state": trial.state.name}
    ended = "" if trial.state.name == "COMPLETE" else f"is {trial.state.name} in the study"
    kept = {name: points for name, points in series.items() if points}
    place = f"{path}, study '{study}', trial {trial.number}"
    return ForeignRun(place, {**own, **trial.user_attrs, **trial.params}, kept, ended)
