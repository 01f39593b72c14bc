"""Optuna's studies as runs: a trial each, from an SQLite database or a journal file."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.checksums import checksum
from harness.errors import HarnessError, first_line
from harness.imports.foreign import ForeignRun, ForeignSource, Point, number_of

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

TABLES = {"studies", "trials", "trial_values", "version_info"}
"""Tables of a database that is a storage of Optuna."""


def is_journal(path: Path) -> bool:
    """Whether a file's first line is an operation of Optuna's journal."""
    with path.open("rb") as file:
        first = file.readline(4096)
    return first.startswith(b"{") and b'"op_code"' in first and b'"worker_id"' in first


def read_studies(path: Path, form: str) -> ForeignSource:
    """Every trial of every study; ``form`` is ``sqlite`` or ``journal``.

    Optuna opens a copy: it writes into what it opens.

    Raises:
        HarnessError: Optuna cannot read it.
    """
    import optuna

    sha256 = checksum(path)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="harness-import-") as folder:
        copy = Path(folder) / "study"
        for end in ("", "-wal"):  # what SQLite has not yet moved into the file itself
            if (there := path.with_name(path.name + end)).is_file():
                shutil.copyfile(there, copy.with_name(copy.name + end))
        try:
            runs = _runs(_storage(copy, form), path)
        except Exception as error:  # of Optuna, SQLAlchemy or the journal: whatever the file provokes
            raise HarnessError(f"{path}: Optuna cannot read it: {first_line(error)[:200]}") from None
        finally:
            optuna.logging.set_verbosity(before)
    if not runs:
        raise HarnessError(f"{path}: no study in it has a trial")
    return ForeignSource(path, "Optuna study", sha256, runs)


def _storage(path: Path, form: str) -> BaseStorage:
    from optuna.storages import RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    if form == "sqlite":
        return RDBStorage(f"sqlite:///{path.as_posix()}")
    return JournalStorage(JournalFileBackend(str(path)))


def _runs(storage: BaseStorage, path: Path) -> list[ForeignRun]:
    runs = []
    for study in storage.get_all_studies():
        names = study.system_attrs.get("study:metric_names")
        for trial in storage.get_all_trials(study._study_id, deepcopy=False):
            runs.append(_run(path, study.study_name, list(names or ()), trial))
    return runs


def _run(path: Path, study: str, names: list[str], trial: FrozenTrial) -> ForeignRun:
    """A trial: its objectives are ``value``, or as the study names them; what it reported on the way is the first's."""
    values: list[Any] = list(trial.values or ())
    if len(names) < max(1, len(values)):
        names = ["value"] if len(values) < 2 else [f"value_{number}" for number in range(len(values))]
    series: dict[str, list[Point]] = {name: [] for name in names}
    series[names[0]] += sorted(trial.intermediate_values.items())
    for name, value in zip(names, values, strict=False):
        series[name].append((None, float(value)))
    for name, attribute in trial.user_attrs.items():
        if (number := number_of(attribute)) is not None and name not in series:
            series[name] = [(None, number)]
    own = {"study": study, "number": trial.number, "state": trial.state.name}
    ended = "" if trial.state.name == "COMPLETE" else f"is {trial.state.name} in the study"
    kept = {name: points for name, points in series.items() if points}
    place = f"{path}, study '{study}', trial {trial.number}"
    return ForeignRun(place, {**own, **trial.user_attrs, **trial.params}, kept, ended)
