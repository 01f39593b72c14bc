"""A private Ray session: its folder and token, and the end of its processes.

Ray's daemons survive a SIGKILL of their command. Each command notes its session's processes, and the next run on the
same folder ends those of dead commands, recognized by pid and start time.
"""

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

import psutil

from harness.base.process_tree import below, end
from harness.errors import HarnessError

PREFIX = "hr-"
LONGEST = 107
"""Bytes of a socket's name (unix(7): 108 with the zero at its end)."""
_SOCKET = f"/{PREFIX}12345678/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1"
PATIENCE_SECONDS = 5.0
"""Time in which ending processes stop using the folder."""
SAME_START_SECONDS = 1.0
"""Largest difference of one process's start time between two readings, whatever the clock's adjustments."""


def make_folder() -> Path:
    """Make a folder with mode 0700; Ray's own folders are open to everybody.

    Raises:
        HarnessError: no writable place has a name short enough for Ray's sockets.
    """
    places = dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"))
    for place in places:
        if len(os.fsencode(place + _SOCKET)) <= LONGEST and os.access(place, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    raise HarnessError(
        f"Ray needs a folder with a name of at most {LONGEST - len(_SOCKET)} bytes for its sockets, and can write to "
        f"none of {', '.join(places)}; set TMPDIR to one"
    )


def remove_folder(folder: Path) -> None:
    """Remove a folder of :func:`make_folder`, and no other."""
    until = time.monotonic() + PATIENCE_SECONDS
    while folder.name.startswith(PREFIX) and not folder.is_symlink() and folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > until:
            return
        time.sleep(0.02)


def keep_token_private() -> None:
    """Make Ray's token readable by its user alone; none is made where the environment names another."""
    file = Path.home() / ".ray" / "auth_token"
    with contextlib.suppress(OSError):
        if not os.environ.get("RAY_AUTH_TOKEN") and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not file.exists():
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as token:
                    token.write(secrets.token_hex(32))
    with contextlib.suppress(OSError):
        file.chmod(0o600)


def note_children(folder: Path, private: Path | None = None) -> Path:
    """Write down every descendant of this process, and its private folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = psutil.Process()
    noted = [[child.pid, child.create_time()] for child in below(command)]
    started = [command.pid, command.create_time()]
    note = {"owner": started, "processes": noted, "folder": str(private) if private is not None else None}
    file = folder / f"session-{command.pid}.json"
    file.write_text(json.dumps(note), encoding="utf-8")
    return file


def end_orphans(folder: Path) -> int:
    """Kill the noted processes of dead commands and all their descendants; return their number."""
    ended = 0
    for file in folder.glob("session-*.json"):
        try:
            note = json.loads(file.read_text(encoding="utf-8"))
            command = _alive(*note["owner"])
            noted = [_alive(*process) for process in note["processes"]]
            private = Path(note["folder"]) if note.get("folder") else None
        except (OSError, ValueError, KeyError, TypeError):
            continue  # being written by a live command, or another program's file
        if command is not None:
            continue
        ended += end([process for process in noted if process is not None])
        if private is not None:
            ended += end(naming(private))
            remove_folder(private)
        file.unlink(missing_ok=True)
    return ended


def children_named(names: tuple[str, ...]) -> list[psutil.Process]:
    """Return descendants of this process that run one of these programs."""
    children = []
    for child in below(psutil.Process()):
        with contextlib.suppress(psutil.Error):
            if Path((child.cmdline() or [child.name()])[0]).name in names:
                children.append(child)
    return children


def naming(folder: Path) -> list[psutil.Process]:
    """Return processes that name a folder on their command line.

    Daemons whose parent died are nobody's children. Workers call themselves ``ray::…``: those with an open file in it.
    """
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            named = any(str(folder) in word for word in words)
            if not named and words and words[0].startswith("ray::"):
                named = any(Path(file.path).is_relative_to(folder) for file in process.open_files())
            if named and process.pid != os.getpid():
                processes.append(process)
    return processes


def _alive(pid: int, started: float) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < SAME_START_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    return None
