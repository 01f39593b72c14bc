"""Which trials living commands run: a locked file for each, which the kernel frees when its command dies.

No clock decides anything: a command that was stopped still holds its trials, one that was killed holds none. The locks
are of the kind that the store itself needs (``flock``), so that they hold wherever the store does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
from pathlib import Path

from harness.store.errors import StoreError

_NOTE_BYTES = 400


class TrialClaims:
    """Claims of one command on trials that it runs.

    Args:
        folder: where the files of all commands of a database lie; made when it is needed.
        run_id: named to those who find a trial taken.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self._folder = folder
        self._note = f"run {run_id}, process {os.getpid()} on {platform.node()}"[:_NOTE_BYTES].encode()
        self._held: dict[str, int] = {}

    def take(self, trial_id: str) -> bool:
        """Claim a trial; False where another command has it. What is claimed already stays claimed.

        Raises:
            StoreError: no file can be made or locked there.
        """
        if trial_id in self._held:
            return True
        descriptor = self._locked(self._folder / trial_id)
        if descriptor is None:
            return False
        self._held[trial_id] = descriptor
        with contextlib.suppress(OSError):  # a full disk leaves the claim without its holder's name
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, self._note, 0)
        return True

    def _locked(self, path: Path) -> int | None:
        """A descriptor of the file at a path that holds its lock; None where another has it."""
        while True:
            try:
                if not path.parent.is_dir():
                    path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise StoreError(f"trials cannot be claimed in {path.parent}: {error.strerror}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Whoever held it before may have removed the file since it was opened here: then the name is free.
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                return None
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ESTALE):
                    os.close(descriptor)
                    raise StoreError(f"trials cannot be claimed in {path.parent}: {error.strerror}") from error
            os.close(descriptor)

    def release(self, trial_id: str) -> None:
        """Let others have a trial, where this command had it."""
        descriptor = self._held.pop(trial_id, None)
        if descriptor is None:
            return
        with contextlib.suppress(OSError):
            (self._folder / trial_id).unlink(missing_ok=True)  # while it is locked, so that nobody else's is removed
        with contextlib.suppress(OSError):
            # Explicit, because a child forked meanwhile shares the description and would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        for trial_id in list(self._held):
            self.release(trial_id)

    def is_free(self, trial_id: str) -> bool:
        """Whether nobody has a trial at this moment."""
        try:
            descriptor = os.open(self._folder / trial_id, os.O_RDONLY)
        except FileNotFoundError:
            return True
        except OSError as error:
            raise StoreError(f"claims of trials cannot be read in {self._folder}: {error.strerror}") from error
        try:
            # Shared, and let go at once: two who look at the same moment do not take each other for the holder.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def holder(self, trial_id: str) -> str:
        """Who has a trial, as its command wrote it; empty where nobody says."""
        try:
            with (self._folder / trial_id).open("rb") as file:
                return file.read(_NOTE_BYTES).decode(errors="replace")
        except OSError:
            return ""

    def tidy(self) -> None:
        """Remove what dead commands left; a file that somebody holds stays."""
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - names only
        except OSError:
            return
        for name in names:
            if name not in self._held and self.take(name):
                self.release(name)
