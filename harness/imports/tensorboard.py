"""TensorBoard's event folders as runs: a folder with event files each."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.imports.folders import sha256_of_files
from harness.imports.foreign import ForeignRun, ForeignSource, by_step
from harness.trial.event_files import scalars_of

EVENTS = "*tfevents*"


def has_events(path: Path) -> bool:
    """Whether a path is an event file, or a folder with one somewhere in it."""
    return ".tfevents." in path.name if path.is_file() else next(path.rglob(EVENTS), None) is not None


def read_events(path: Path) -> ForeignSource:
    """The runs below a folder, in the order of their paths; ``path`` is the field with a run's path below it.

    A folder's files are one run that was begun several times: of a step that stands in two, the later file has it.

    Raises:
        HarnessError: there is no scalar in any file.
    """
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else sorted(file for file in path.rglob(EVENTS) if file.is_file())
    folders: dict[Path, dict[str, dict[int, float]]] = {}
    for file in files:  # their names begin with the time
        series = folders.setdefault(file.parent, {})
        for step, tag, value in scalars_of(file):
            series.setdefault(tag, {})[step] = value
    if not any(folders.values()):
        raise HarnessError(f"{path}: no scalar in {len(files)} event file{'s' * (len(files) != 1)}")
    runs = []
    for folder, series in sorted(folders.items()):
        place = folder.relative_to(root).as_posix()
        fields = {"path": place, "run": folder.name, "above": folder.parent.name}
        numbers = {tag: by_step(points) for tag, points in series.items()}
        runs.append(ForeignRun(str(folder), fields, numbers))
    empty = [run.fields["path"] for run in runs if not run.series]
    notes = (f"no scalar in {', '.join(map(str, empty[:5]))}",) if empty else ()
    kept = [run for run in runs if run.series]
    return ForeignSource(path, "TensorBoard folder", sha256_of_files(root, files), kept, notes=notes)
