"""Trials written to MLflow and TensorBoard by their own clients."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from harness.base.extras import mlflow_client, require
from harness.errors import HarnessError, choices
from harness.exports.tracked import TrackedTrial
from harness.vocabulary import Status

STATUS = {Status.DONE: "FINISHED", Status.CANCELLED: "KILLED"}
LONGEST_PARAM = 6000
BATCH = 100
"""Entries of one call that MLflow accepts, of the kind of which it accepts fewest."""
KEY = "harness.key"
"""Tag by which a trial's run is found again."""
LARGEST = 3.4028234663852886e38
"""Largest value of single precision, in which TensorBoard keeps scalars."""


class Tracker(Protocol):
    """Accepts trials one by one; writing a trial replaces its earlier run."""

    def write(self, trial: TrackedTrial) -> None:
        """Write a trial."""


class MLflowStore:
    """A folder in MLflow's layout: an experiment for each suite and scale, a run for each trial."""

    def __init__(self, folder: Path) -> None:
        self._client = mlflow_client(folder.absolute().as_uri())
        self._experiments: dict[str, str] = {}

    def write(self, trial: TrackedTrial) -> None:
        """Write a trial's run; an earlier run of the same trial is deleted."""
        from mlflow.entities import Metric, Param, RunTag

        experiment = self._experiment(trial.group)
        for earlier in self._client.search_runs([experiment], f"tags.`{KEY}` = '{trial.key}'"):
            self._client.delete_run(earlier.info.run_id)
        began, ended = round(trial.began * 1000), round(trial.ended * 1000)
        commit = {"mlflow.source.git.commit": trial.run.git_commit} if trial.run and trial.run.git_commit else {}
        tags = {KEY: trial.key, "mlflow.source.name": "harness", **commit, **trial.tags}
        created = self._client.create_run(experiment, start_time=began, run_name=trial.name)
        run = created.info.run_id
        metrics = [
            Metric(_key(name), point.value, round(point.at * 1000), point.step)
            for name, points in trial.curves()
            for point in points
        ]
        metrics += [
            Metric(_key(f"final/{name}"), float(score), ended, trial.last_step) for name, score in trial.finals.items()
        ]
        for part in _batches(metrics):
            self._client.log_batch(run, metrics=part)
        for part in _batches([Param(_key(key), value[:LONGEST_PARAM]) for key, value in trial.params.items()]):
            self._client.log_batch(run, params=part)
        for part in _batches([RunTag(key, value) for key, value in tags.items()]):
            self._client.log_batch(run, tags=part)
        self._client.set_terminated(run, STATUS.get(Status(trial.status), "FAILED"), end_time=ended)

    def _experiment(self, name: str) -> str:
        """The id of an experiment, which is created where it is missing."""
        if name not in self._experiments:
            stored = self._client.get_experiment_by_name(name)
            self._experiments[name] = stored.experiment_id if stored else self._client.create_experiment(name)
        return self._experiments[name]


def _batches(entries: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(entries), BATCH):
        yield entries[start : start + BATCH]


def _key(name: str) -> str:
    """A name with the characters that MLflow accepts."""
    return "/".join(part.strip(". ") or "_" for part in re.sub(r"[^\w.\- :/]", "_", name).split("/"))


class TensorBoardFolder:
    """A log folder: a folder for each trial, named by its identity, so that two recipes never share a curve."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer = require("tensorboard.summary.writer.event_file_writer", "trackers", "an event file")

    def write(self, trial: TrackedTrial) -> None:
        """Write a trial's curves and final numbers; its file is replaced as a whole."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        names = (*trial.group.split("/"), trial.benchmark, trial.arm, f"seed{trial.seed}-{trial.trial_id[:8]}")
        place = self.folder.joinpath(*map(_folder_name, names))
        earlier = list(place.glob("events.out.tfevents.*"))
        points = [(point.step, point.at, name, point.value) for name, curve in trial.curves() for point in curve]
        points.sort(key=lambda point: point[:2])
        points += [(trial.last_step, trial.ended, f"final/{name}", value) for name, value in trial.finals.items()]
        writer = self._writer.EventFileWriter(str(place), filename_suffix=f".{trial.key[:12]}.{len(earlier)}")
        for step, at, name, value in points:
            single = max(-LARGEST, min(LARGEST, value)) if abs(value) < float("inf") else value
            summary = Summary(value=[Summary.Value(tag=name, simple_value=single)])
            writer.add_event(Event(wall_time=at, step=step, summary=summary))
        writer.close()
        for file in earlier:
            file.unlink()


def _folder_name(name: str) -> str:
    """A name as that of a folder in its parent: none that leads anywhere else."""
    return re.sub(r"^\.+$", "_", re.sub(r"[^\w.+=-]", "_", name))[:200] or "_"


TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {"mlflow": MLflowStore, "tensorboard": TensorBoardFolder}
"""By name in ``--track NAME:FOLDER`` and ``export --to NAME``."""


def tracker_of(text: str) -> Tracker:
    """The tracker of ``mlflow:./mlruns``, ``mlflow:file:///data/mlruns`` or ``tensorboard:DIR``.

    Raises:
        HarnessError: unknown tracker, its package is not installed, or the folder cannot be written.
    """
    name, colon, where = text.partition(":")
    if name not in TRACKERS:
        valid = choices(list(TRACKERS), name)
        raise HarnessError(f"--track '{text}': unknown tracker '{name}'; {valid} (as in mlflow:./mlruns)")
    if not colon or not where:
        raise HarnessError(f"--track '{text}': expected a folder after '{name}:', as in {name}:./runs")
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
        raise HarnessError(f"--track '{text}': {folder} cannot be written: {error.strerror}") from error
    return TRACKERS[name](folder)
