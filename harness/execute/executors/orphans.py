"""Ends what a killed run left behind: Ray's daemons and workers survive a SIGKILL of their owner.

Each owner notes the processes of its session; the next run on the same folder ends those of owners that are dead.
A process is only ended if it is the very one that was noted (same pid and same start time).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path


class Session:
    """The note of one owner's processes."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"session-{os.getpid()}.json"

    def note_children(self) -> None:
        """Write down every descendant of this process."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        own = {"owner": [os.getpid(), _started(os.getpid())]}
        children = [[pid, _started(pid)] for pid in _descendants(os.getpid())]
        self._file.write_text(json.dumps({**own, "processes": children}), encoding="utf-8")

    def forget(self) -> None:
        """The session ended in order."""
        self._file.unlink(missing_ok=True)


def end_dead_sessions(folder: Path) -> int:
    """Kill the noted processes of owners that no longer live, and all that descends from them; returns how many."""
    ended = 0
    for file in folder.glob("session-*.json"):
        try:
            note = json.loads(file.read_text(encoding="utf-8"))
            owner = tuple(note["owner"])
            processes = [tuple(one) for one in note["processes"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # being written by a live owner, or not ours
        if _started(owner[0]) == owner[1] and owner[1] is not None:
            continue
        alive = [pid for pid, started in processes if started is not None and _started(pid) == started]
        for pid in {*alive, *(child for one in alive for child in _descendants(one))}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                ended += 1
        file.unlink(missing_ok=True)
    return ended


def _started(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None where it does not live."""
    fields = _stat(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name, which may itself hold blanks and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _descendants(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir() if Path("/proc").is_dir() else ():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found
