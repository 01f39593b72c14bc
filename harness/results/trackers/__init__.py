"""Trials as other tools keep them: MLflow's file store, TensorBoard's event files, W&B's table of runs.

None of these tools is needed to write them.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.results.trackers.mlflow_folder import MLflowFolder
from harness.results.trackers.records import TrackedTrial as TrackedTrial
from harness.results.trackers.targets import Tracker as Tracker
from harness.results.trackers.targets import folder_of as folder_of
from harness.results.trackers.tensorboard_folder import TensorBoardFolder
from harness.results.trackers.wandb_csv import write_wandb_csv

TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {"mlflow": MLflowFolder, "tensorboard": TensorBoardFolder}
"""What ``--track NAME:FOLDER`` writes each trial to, by name."""


def _each(make: Callable[[Path], Tracker]) -> Callable[[Iterable[TrackedTrial], Path], list[Path]]:
    def write(trials: Iterable[TrackedTrial], folder: Path) -> list[Path]:
        tracker = make(folder)
        for trial in trials:
            tracker.write(trial)
        return [folder]

    return write


EXPORTERS: Mapping[str, Callable[[Iterable[TrackedTrial], Path], list[Path]]] = {
    **{name: _each(make) for name, make in TRACKERS.items()},
    "wandb-csv": write_wandb_csv,
}
"""What ``harness export --to NAME`` writes the current trials with."""


def tracker_of(text: str) -> Tracker:
    """The tracker of ``NAME:FOLDER``.

    Raises:
        HarnessError: no such tracker, or no folder that can be written.
    """
    name, folder = folder_of(text, list(TRACKERS))
    return TRACKERS[name](folder)
