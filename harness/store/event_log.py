"""The event log: append-only log segments of JSON lines, one for each session of a writer.

The event log is the record; the database is a view of it. A durable ``append`` returns once its line is on
the disk. Threads that append at the same time share one ``fsync`` (group commit): each syncs for all lines written so
far, and those that wait meanwhile find their line synced, or the first of them syncs for all.
"""

import contextlib
import gzip
import os
import re
import secrets
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path

from harness.store.errors import StoreError
from harness.store.events import VERSION, Event
from harness.store.locking import hold_segment, segment_is_held
from harness.store.log_lines import LogLine, encode, read_lines, sealed, stamp, utc_now
from harness.trial.files import replacing, sync

_CHUNK = 1 << 20
SEALED = "-s"
"""Ends the name of a log segment whose lines have checksums."""
_SUFFIX = ".jsonl"
_ARCHIVED = ".jsonl.gz"


class EventLog:
    """The writer of one log segment; safe to use from several threads.

    The log segment stays locked while the writer lives, which is how others know that it is alive.
    """

    def __init__(self, folder: Path, session: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", session)[:80] or "session"
        self.path = folder / f"{stamp()}-{name}-{secrets.token_hex(2)}{SEALED}{_SUFFIX}"
        self.segment = self.path.name.removesuffix(_SUFFIX)
        # Named as a log segment only once it is held: an unheld one is a dead writer's, and would be archived.
        unnamed = self.path.with_suffix(".new")
        self._descriptor = os.open(unnamed, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
        hold_segment(self._descriptor)
        unnamed.rename(self.path)
        sync_folder(folder)
        self._writing, self._syncing = threading.Lock(), threading.Lock()
        self.written = 0  # bytes of whole lines
        self._lines = 0
        self._synced = 0
        self._broken: str | None = None
        self._closed = False

    def append(self, event: Event, durable: bool | None = None) -> int:
        """Add an event; returns the offset after its line.

        ``durable``: return only when the line is on the disk (default: all kinds but passing ones). A line
        survives the death of the process either way; only a durable one survives the machine's.

        Raises:
            StoreError: an event that is not well-formed, or a disk that does not take it.
        """
        event.check()
        line = encode({"v": VERSION, "kind": event.kind, "at": event.at or utc_now(), **event.to_json()})
        if durable is None:
            durable = not event.passing
        with self._writing:
            end = self._write(line)
        if durable:
            self._wait_for_disk(end)
        return end

    def _write(self, line: bytes) -> int:
        self._refuse_if_broken()
        if self._closed:
            raise StoreError(f"the event log {self.path} is closed")
        line = sealed(line, self._lines)
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            # Half a line would swallow the next one.
            try:
                os.ftruncate(self._descriptor, self.written)
            except OSError:
                self._broken = str(error)
            raise StoreError(f"the event log {self.path} cannot be written: {error}") from error
        self.written += len(line)
        self._lines += 1
        return self.written

    def _wait_for_disk(self, end: int) -> None:
        with self._syncing:
            self._refuse_if_broken()
            if self._synced >= end:  # the previous holder of the lock synced this line too
                return
            upto = self.written
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                # After a failed fsync the kernel may have dropped the pages: nothing later can be trusted.
                self._broken = str(error)
                self._refuse_if_broken()
            self._synced = upto

    def _refuse_if_broken(self) -> None:
        if self._broken is not None:
            raise StoreError(f"the event log {self.path} can no longer be written: {self._broken}")

    def finish(self) -> None:
        """Sync what was written and take no more; the log segment stays held. Idempotent."""
        with self._writing:
            if self._closed:
                return
            self._closed = True
        self._wait_for_disk(self.written)

    def close(self) -> None:
        """Finish, and let go of the log segment. Idempotent."""
        try:
            self.finish()
        finally:
            with self._syncing:
                if self._descriptor >= 0:
                    os.close(self._descriptor)
                    self._descriptor = -1


@dataclass(frozen=True)
class LogSegment:
    """A log segment on the disk, plain or archived. Offsets count uncompressed bytes in both."""

    folder: Path
    name: str

    @property
    def plain(self) -> Path:
        """The file that a writer appends to."""
        return self.folder / (self.name + _SUFFIX)

    @property
    def archived(self) -> Path:
        """The compressed file that replaces it."""
        return self.folder / (self.name + _ARCHIVED)

    @property
    def is_archived(self) -> bool:
        """True if only the compressed file is left."""
        return not self.plain.exists()

    @property
    def is_alive(self) -> bool:
        """True while its writer holds it."""
        return segment_is_held(self.plain)

    def behind(self, offset: int) -> bool:
        """True if bytes after ``offset`` exist; reads none of them."""
        try:
            descriptor = os.open(self.plain, os.O_RDONLY)  # network file systems know the size of an opened file
        except FileNotFoundError:
            # gzip's trailer holds the length modulo 2**32.
            return _archived_size(self.archived) not in (offset % (1 << 32), None)
        try:
            return os.fstat(descriptor).st_size > offset
        finally:
            os.close(descriptor)

    def lines(self, offset: int = 0, *, strict: bool = False) -> Iterator[LogLine]:
        """Whole lines from ``offset`` on; a torn tail is left alone, since its writer may yet finish it.

        Raises:
            StoreError: an archive that is damaged.
            EOFError: an archive that was cut short, if ``strict``; otherwise its lines simply end.
        """
        with self._open() as file:
            try:
                file.seek(offset)
                yield from read_lines(file, offset, seals=self.name.endswith(SEALED))
            except EOFError:
                if strict:
                    raise
            except (OSError, zlib.error) as error:
                raise StoreError(f"the archived log segment {self.archived} cannot be read: {error}") from error

    def _open(self) -> BufferedReader | gzip.GzipFile:
        try:
            return self.plain.open("rb")
        except FileNotFoundError:
            return gzip.open(self.archived, "rb")

    def archive(self, end: int) -> None:
        """Compress the first ``end`` bytes into a durable file; remove the original.

        ``end`` is where the last whole line ends: a torn tail was never acknowledged and goes.
        """
        if self.is_archived:
            return
        with (
            replacing(self.archived, durable=True) as partial,
            self.plain.open("rb") as source,
            partial.open("wb") as raw,
            gzip.GzipFile(self.plain.name, "wb", compresslevel=6, fileobj=raw, mtime=0) as target,
        ):
            while end > 0 and (chunk := source.read(min(end, _CHUNK))):
                target.write(chunk)
                end -= len(chunk)
        sync_folder(self.folder)
        self.plain.unlink()
        sync_folder(self.folder)


@cache
def _archived_size(path: Path) -> int | None:
    """Uncompressed bytes modulo 2**32; archives never change, so each is opened once."""
    try:
        with path.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            return int.from_bytes(file.read(4), "little")
    except OSError:
        return None


def segments(folder: Path) -> list[LogSegment]:
    """All log segments of an event log, plain and archived, oldest first."""
    try:
        with os.scandir(folder) as entries:  # pipes and folders are ignored: reading them could hang
            names = [entry.name for entry in entries if entry.is_file()]
    except FileNotFoundError:
        return []
    stems = {name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)}
    stems |= {name.removesuffix(_ARCHIVED) for name in names if name.endswith(_ARCHIVED)}
    return [LogSegment(folder, name) for name in sorted(stems)]


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable: a new file's data without its name is lost."""
    with contextlib.suppress(OSError):  # some network file systems do not sync folders
        sync(folder)
