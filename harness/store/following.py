"""Results that other sessions of a database log while this one runs."""

from __future__ import annotations

import contextlib
import os
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
