"""Ends orphan processes: Ray's daemons and workers survive a SIGKILL of their owner.

Each owner notes the processes of its session; the next run on the same folder ends those of owners that are dead.
A process is only ended if it is the very one that was noted (same pid and same start time).
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import psutil

SAME_START_SECONDS = 1.0
"""Start times of one process as told at two moments differ by less, whatever the clock's adjustments."""


def note_children(folder: Path) -> Path:
    """Write down every descendant of this process; the note is removed when its session ends in order."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = psutil.Process()
    noted = [[child.pid, child.create_time()] for child in _descendants(owner)]
    note = {"owner": [owner.pid, owner.create_time()], "processes": noted}
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
        except (OSError, ValueError, KeyError, TypeError):
            continue  # being written by a live owner, or not ours
        if owner is not None:
            continue
        orphans = [process for process in noted if process is not None]
        for process in {*orphans, *(child for orphan in orphans for child in _descendants(orphan))}:
            with contextlib.suppress(psutil.Error):
                process.kill()
                ended += 1
        file.unlink(missing_ok=True)
    return ended


def children_named(names: tuple[str, ...]) -> list[psutil.Process]:
    """Descendants of this process that run one of these programs."""
    found = []
    for child in _descendants(psutil.Process()):
        with contextlib.suppress(psutil.Error):
            if Path((child.cmdline() or [child.name()])[0]).name in names:
                found.append(child)
    return found


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def end(processes: list[psutil.Process]) -> None:
    """Kill processes and all that descends from them."""
    for process in processes:
        for one in (*_descendants(process), process):
            with contextlib.suppress(psutil.Error):
                one.kill()


def _alive(pid: int, started: float) -> psutil.Process | None:
    """The process that was noted, or None where it has ended."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < SAME_START_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    return None


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []
