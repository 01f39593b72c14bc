"""Ends orphan processes: Ray's daemons and workers survive a SIGKILL of their owner.

Each owner notes the processes of its session; the next run on the same folder ends those of owners that are dead.
A process is only ended if it is the very one that was noted (same pid and same start time).
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import psutil

from harness.base.process_tree import below, end
from harness.execute.executors.private import remove_folder

SAME_START_SECONDS = 1.0
"""Start times of one process as told at two moments differ by less, whatever the clock's adjustments."""


def note_children(folder: Path, private: Path | None = None) -> Path:
    """Write down every descendant of this process; the note is removed when its session ends in order.

    ``private``: the session's own folder, which goes with its processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner = psutil.Process()
    noted = [[child.pid, child.create_time()] for child in below(owner)]
    note: dict[str, object] = {"owner": [owner.pid, owner.create_time()], "processes": noted}
    if private is not None:
        note["folder"] = str(private)
    file = folder / f"session-{owner.pid}.json"
    file.write_text(json.dumps(note), encoding="utf-8")
    return file


def end_orphans(folder: Path) -> int:
    """Kill the noted processes of owners that no longer live, and all that descends from them; returns how many."""
    ended = 0
    for file in folder.glob("session-*.json"):
        try:
            note = json.loads(file.read_text(encoding="utf-8"))
            owner = _alive(*note["owner"])
            noted = [_alive(*one) for one in note["processes"]]
            private = Path(note["folder"]) if note.get("folder") else None
        except (OSError, ValueError, KeyError, TypeError):
            continue  # being written by a live owner, or not ours
        if owner is not None:
            continue
        ended += end([process for process in noted if process is not None])
        if private is not None:
            ended += end(naming(private))
            remove_folder(private)
        file.unlink(missing_ok=True)
    return ended


def children_named(names: tuple[str, ...]) -> list[psutil.Process]:
    """Descendants of this process that run one of these programs."""
    found = []
    for child in below(psutil.Process()):
        with contextlib.suppress(psutil.Error):
            if Path((child.cmdline() or [child.name()])[0]).name in names:
                found.append(child)
    return found


def naming(folder: Path) -> list[psutil.Process]:
    """Processes on whose command line a folder stands: daemons whose parent died are nobody's children.

    Workers call themselves ``ray::…`` instead: those that have a file of the folder open.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            named = any(str(folder) in word for word in words)
            if not named and words and words[0].startswith("ray::"):
                named = any(Path(file.path).is_relative_to(folder) for file in process.open_files())
            if named and process.pid != os.getpid():
                found.append(process)
    return found


def _alive(pid: int, started: float) -> psutil.Process | None:
    """The process that was noted, or None where it has ended."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < SAME_START_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    return None
