"""Other living commands of a database: the trials that they run, and the results that they log.

Trials are locked by bytes of a common file, one each. No clock decides anything: the kernel drops the locks of a
command that dies, and a command that was stopped still has its trials. The file stays empty, and a lock costs
microseconds.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import struct
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.execute.outcome import Outcome
from harness.store.deletion import DeletedEvent
from harness.store.errors import StoreError
from harness.store.event_log import LogSegment, segments
from harness.store.events import OutcomeEvent, SessionEvent, read_event
from harness.store.fold import REJECTABLE
from harness.store.log_lines import LogLine
from harness.store.paths import StorePaths
from harness.vocabulary import FINAL

_CHUNK = 1 << 16


class OtherSessions:
    """Results that others log from now on; make one before asking the database what is stored.

    Args:
        paths: of the database.
        own: the log segment that this session writes.
    """

    def __init__(self, paths: StorePaths, own: str) -> None:
        self._journal = paths.journal
        present = segments(self._journal)
        self._seen = {own, *(segment.name for segment in present)}
        # Archived ones are at their end; what stands in the others already is in the database's answer.
        living = (segment for segment in present if segment.name != own and not segment.is_archived)
        self._offsets = {segment.name: _whole_lines(segment.plain) for segment in living}
        self._results: dict[str, Outcome] = {}

    def result(self, trial_id: str) -> Outcome | None:
        """Another session's outcome of a trial (final numbers, no series), as of the last :meth:`look`."""
        return self._results.get(trial_id)

    def discard(self, trial_ids: Iterable[str]) -> None:
        """Ignore what was logged of these trials until now: this session deletes them."""
        self.look()
        self._drop(trial_ids)

    def look(self) -> None:
        """Read what others have logged since the last call."""
        new = {segment.name for segment in segments(self._journal)} - self._seen
        self._seen |= new
        self._offsets |= dict.fromkeys(new, 0)
        for name, offset in list(self._offsets.items()):
            segment = LogSegment(self._journal, name)
            was_archived = segment.is_archived
            if segment.behind(offset):
                self._offsets[name] = self._read(segment, offset)
            if was_archived:
                del self._offsets[name]  # it does not grow any more

    def living(self) -> list[str]:
        """The other sessions that have a run and whose command lives: the run, the process, its machine."""
        sessions = []
        for name in sorted(self._offsets):
            segment = LogSegment(self._journal, name)
            first = next(segment.lines(), None) if segment.is_alive else None
            content = first.content if first is not None and first.content else {}
            if content.get("kind") == SessionEvent.kind and content.get("run_id"):
                sessions.append(f"{content['run_id']}, process {content.get('pid')} on {content.get('host')}")
        return sessions

    def _read(self, segment: LogSegment, offset: int) -> int:
        with contextlib.suppress(StoreError):  # `db check` names a damaged archive
            for line in segment.lines(offset):
                offset = line.end
                self._keep(line)
        return offset

    def _keep(self, line: LogLine) -> None:
        if line.content is None or line.content["kind"] not in (OutcomeEvent.kind, "replaced", "deleted"):
            return
        with contextlib.suppress(*REJECTABLE):  # ingest sets such a line aside
            event = read_event(line.content)
            if isinstance(event, DeletedEvent):
                self._drop(event.trials)
            if isinstance(event, OutcomeEvent) and event.outcome.status in FINAL:
                lean = replace(event.outcome, series=(), artifacts=())
                first = self._results.get(lean.trial_id) if event.kind == OutcomeEvent.kind else None
                self._results[lean.trial_id] = first or lean  # a second outcome is set aside, a replacement is not

    def _drop(self, trial_ids: Iterable[str]) -> None:
        for trial_id in trial_ids:
            self._results.pop(trial_id, None)


def _whole_lines(path: Path) -> int:
    """The end of the last whole line of a log segment: its writer may be in the middle of the next one."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while end > 0:
                start = max(0, end - _CHUNK)
                file.seek(start)
                if (newline := file.read(end - start).rfind(b"\n")) >= 0:
                    return start + newline + 1
                end = start
    except OSError:
        pass  # it was archived meanwhile
    return 0


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
