"""Which trials living commands run: one locked byte of a common file for each.

No clock decides anything: the kernel drops the locks of a command that dies, and a command that was stopped still has
its trials. A byte's place follows from the trial's name, and the file stays empty: nothing is written, and a lock
costs microseconds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import struct
import sys
from pathlib import Path

from harness.store.errors import StoreError

_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: kind, origin, start, length, process
_PLACE_BYTES = 7  # offsets of a file are positive numbers of 64 bits


class TrialLocks:
    """Locks of one command on trials that it runs. Use from one thread at a time.

    The locks belong to this object (open file description locks), so that they exclude other sessions of this process
    too. Where the system has none (macOS), they belong to the process, whose sessions then do not exclude each other.

    Args:
        file: common to all commands of a database; made with its folder when it is needed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = -1
        self._held: set[str] = set()
        self.own_locks = sys.platform == "linux" and sys.maxsize > 2**32

    def take(self, trial_id: str) -> bool:
        """Lock a trial; False where another command has it. A locked trial stays locked.

        Raises:
            StoreError: no file can be made or locked there.
        """
        if trial_id not in self._held and self._set(trial_id, fcntl.F_WRLCK):
            self._held.add(trial_id)
        return trial_id in self._held

    def release(self, trial_id: str) -> None:
        """Let others have a trial, where this command had it."""
        if trial_id in self._held:
            self._held.discard(trial_id)
            # Explicit, because a child forked meanwhile shares the description and would keep the lock.
            self._set(trial_id, fcntl.F_UNLCK)

    def close(self) -> None:
        """Let go of everything; what is taken afterwards is locked again. Idempotent."""
        for trial_id in list(self._held):
            self.release(trial_id)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def is_free(self, trial_id: str) -> bool:
        """True if nobody else has a trial at this moment; raises as :meth:`take`."""
        if trial_id in self._held:
            return True
        free = self._set(trial_id, fcntl.F_WRLCK)
        if free:
            self._set(trial_id, fcntl.F_UNLCK)
        return free

    def _set(self, trial_id: str, kind: int) -> bool:
        """Lock or unlock a trial's byte; False where another has it."""
        try:
            if self.own_locks:
                lock = struct.pack(_FLOCK, kind, os.SEEK_SET, _place(trial_id), 1, 0)
                fcntl.fcntl(self._open(), fcntl.F_OFD_SETLK, lock)
            else:
                how = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
                fcntl.lockf(self._open(), how, 1, _place(trial_id))
        except (BlockingIOError, PermissionError):  # what POSIX lets a system say where another has the lock
            return False
        except OSError as error:
            if error.errno == errno.EINVAL and self.own_locks:  # a kernel that does not know them
                self.own_locks = False
                return self._set(trial_id, kind)
            raise self._refused(error) from error
        return True

    def _open(self) -> int:
        if self._descriptor < 0:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise self._refused(error) from error
        return self._descriptor

    def _refused(self, error: OSError) -> StoreError:
        return StoreError(f"trials cannot be locked in {self._file}: {error.strerror}")

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            if self._descriptor >= 0:
                os.close(self._descriptor)


def _place(trial_id: str) -> int:
    """The byte of a trial in the file of locks."""
    return int.from_bytes(hashlib.blake2b(trial_id.encode(), digest_size=_PLACE_BYTES).digest(), "big")
