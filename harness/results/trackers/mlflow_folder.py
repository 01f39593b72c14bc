"""MLflow's file store, written without MLflow: ``mlflow ui --backend-store-uri FOLDER`` shows it.

Newer versions of MLflow ask for ``MLFLOW_ALLOW_FILE_STORE=true`` first; 3.17.2 was seen to read it.

Layout (mlflow/store/tracking/file_store.py): ``EXPERIMENT/meta.yaml``, ``EXPERIMENT/RUN/meta.yaml`` and beside the
latter ``params/KEY`` and ``tags/KEY`` with the value alone, ``metrics/KEY`` with a line ``milliseconds value step`` a
point. A key's slashes are folders. An experiment is a suite at a scale, a run a trial.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.base.yaml_nodes import read
from harness.errors import HarnessError
from harness.results.trackers.records import TrackedTrial
from harness.vocabulary import Status

_FINISHED, _FAILED, _KILLED = 3, 4, 5  # mlflow.entities.RunStatus
_STATUS = {Status.DONE: _FINISHED, Status.CANCELLED: _KILLED}
_LOCAL = 4  # mlflow.entities.SourceType
LONGEST_PARAM = 6000
"""Longer values are refused by MLflow."""


class MLflowFolder:
    """A file store; experiments are made when they are first needed, and found again by their name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._experiments = {name: path.name for path in self.folder.glob("*/meta.yaml") for name, path in _named(path)}

    def write(self, trial: TrackedTrial) -> Path:
        """Write a trial's run, whole or not at all; one that is there already is replaced."""
        experiment = self._experiment(trial)
        place = self.folder / experiment / trial.key
        # beside the store: whatever lies in it is taken for an experiment or a run
        made = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}-", dir=self.folder.parent))
        try:
            made.chmod(0o755)
            _fill(made, trial, experiment, place)
            shutil.rmtree(place, ignore_errors=True)
            made.rename(place)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        return place

    def _experiment(self, trial: TrackedTrial) -> str:
        """The id of the trial's group."""
        if trial.group not in self._experiments:
            number = str(int(hashlib.sha256(trial.group.encode()).hexdigest(), 16) % 10**18).zfill(18)
            place, moment = self.folder / number, round(trial.began * 1000)
            place.mkdir(exist_ok=True)
            _write_yaml(
                place / "meta.yaml",
                {
                    "artifact_location": place.as_uri(),
                    "creation_time": moment,
                    "experiment_id": number,
                    "last_update_time": moment,
                    "lifecycle_stage": "active",
                    "name": trial.group,
                },
            )
            self._experiments[trial.group] = number
        return self._experiments[trial.group]


def _named(meta: Path) -> list[tuple[str, Path]]:
    """Name and folder of an experiment; none where the file is no experiment's."""
    try:
        found = read(meta).plain()
    except HarnessError:
        return []
    return [(str(found["name"]), meta.parent)] if "name" in found else []


def _fill(made: Path, trial: TrackedTrial, experiment: str, place: Path) -> None:
    for part in ("params", "tags", "metrics", "artifacts"):
        (made / part).mkdir()
    _write_yaml(
        made / "meta.yaml",
        {
            "artifact_uri": f"{place.as_uri()}/artifacts",
            "end_time": round(trial.ended * 1000),
            "entry_point_name": "",
            "experiment_id": experiment,
            "lifecycle_stage": "active",
            "run_id": trial.key,
            "run_name": trial.name,
            "run_uuid": trial.key,
            "source_name": "harness",
            "source_type": _LOCAL,
            "source_version": "",
            "start_time": round(trial.began * 1000),
            "status": _STATUS.get(Status(trial.status), _FAILED),
            "tags": [],
            "user_id": "harness",
        },
    )
    for key, value in trial.params.items():
        _put(made / "params", key, value[:LONGEST_PARAM])
    commit = {"mlflow.source.git.commit": trial.run.git_commit} if trial.run and trial.run.git_commit else {}
    own = {
        "mlflow.runName": trial.name,
        "mlflow.user": "harness",
        "mlflow.source.name": "harness",
        "mlflow.source.type": "LOCAL",
        **commit,
    }
    for key, value in (own | trial.tags).items():
        _put(made / "tags", key, value)
    for name, points in trial.curves():
        _put(made / "metrics", name, "".join(f"{round(at * 1000)} {value!r} {step}\n" for step, value, at in points))
    for name, score in trial.finals.items():
        _put(made / "metrics", f"final/{name}", f"{round(trial.ended * 1000)} {float(score)!r} {trial.last_step}\n")


def _put(folder: Path, key: str, text: str) -> None:
    """A value under its key: letters, digits and ``_ - . : /`` and blanks, as MLflow allows them."""
    parts = [part.strip(". ") or "_" for part in re.sub(r"[^\w.\- :/]", "_", key).split("/")]
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Plain values as YAML, in which JSON's scalars are valid."""
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in sorted(content.items())]
    path.write_text("".join(lines), encoding="utf-8")
