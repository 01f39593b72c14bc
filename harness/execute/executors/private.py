"""The folder of a Ray that a command starts for itself, which nobody else may enter, and the token that lets in.

Ray makes its own folders open to everybody, so that they lie in one that is not. Names of sockets are limited to
107 bytes, and Ray's are long: the folder's has to be short.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from harness.errors import HarnessError

PREFIX = "hr-"
LONGEST = 107
"""Bytes of a socket's name (unix(7): 108 with the zero at its end)."""
_SOCKET = f"/{PREFIX}12345678/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1"
PATIENCE_SECONDS = 5.0
"""For processes that are just ending to leave the folder alone."""


def make_folder() -> Path:
    """A new folder with mode 0700 in the first place whose name is short enough.

    Raises:
        HarnessError: there is none.
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
    """Remove a folder of :func:`make_folder`, and nothing else."""
    until = time.monotonic() + PATIENCE_SECONDS
    while folder.name.startswith(PREFIX) and not folder.is_symlink() and folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > until:
            return
        time.sleep(0.02)


def keep_token_private() -> None:
    """Make the token that Ray would make for everybody to read, and take a readable one back.

    Nothing is made where the environment names another.
    """
    file = Path.home() / ".ray" / "auth_token"
    with contextlib.suppress(OSError):
        if not os.environ.get("RAY_AUTH_TOKEN") and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not file.exists():
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
                    made.write(secrets.token_hex(32))
    with contextlib.suppress(OSError):
        file.chmod(0o600)
