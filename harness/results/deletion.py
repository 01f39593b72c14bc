"""Stored trials that are to count as not stored: select, delete, restore. The event log keeps them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from harness.base.folders import remove
from harness.errors import HarnessError, choices
from harness.judge.withdrawal import Withdrawn, withdrawn_verdicts
from harness.results.current import find_run
from harness.store import Reader, StorePaths, Writer, open_reader
from harness.store.deletion import DeletedEvent, RestoredEvent
from harness.vocabulary import Status

ENDED = tuple(status.value for status in Status if status not in (Status.QUEUED, Status.RUNNING))

_NAMED = """
WITH named AS (
  SELECT trial_id, suite, benchmark, arm, NULL AS run_id, false AS reused FROM trials
  UNION SELECT k.trial_id, r.suite, k.benchmark, k.arm, k.run_id, k.reused FROM run_trials k JOIN runs r USING (run_id))
SELECT DISTINCT ON (t.trial_id) t.trial_id, n.suite, n.benchmark, n.arm, t.seed, t.scale, t.status
FROM named n JOIN trials t USING (trial_id) WHERE {where}
ORDER BY t.trial_id, n.suite, n.benchmark, n.arm"""

_DELETIONS = """
SELECT d.deletion_id, d.deleted_at, d.restored_at, d.reason, count(t.trial_id) AS trials
FROM deletions d LEFT JOIN trials_with_deleted t USING (deleted_at)
GROUP BY ALL ORDER BY d.deleted_at DESC"""


@dataclass(frozen=True, slots=True)
class TrialFilter:
    """Stored trials that match every field that is set.

    Attributes:
        trials: ids or their unique beginnings.
        run: a run, as an id, its beginning, a tag or ``latest``: the trials that it ran itself, not those it reused.
        seeds: any of these; empty: all.
    """

    trials: tuple[str, ...] = ()
    run: str | None = None
    suite: str | None = None
    benchmark: str | None = None
    arm: str | None = None
    scale: str | None = None
    status: str | None = None
    seeds: tuple[int, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True, slots=True)
class SelectedTrial:
    """A stored trial that matches a filter, under its first matching name."""

    trial_id: str
    suite: str
    benchmark: str
    arm: str
    seed: int
    scale: str
    status: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """Trials that were, or would be, deleted.

    Attributes:
        deletion_id: for :func:`restore`; None where nothing was done.
        unended: number of trials that match but are queued or running: they have no result to delete.
        verdicts: claims whose newest verdict rests on some of the trials.
    """

    deletion_id: str | None
    trials: tuple[SelectedTrial, ...]
    unended: int
    verdicts: tuple[Withdrawn, ...]


@dataclass(frozen=True, slots=True)
class StoredDeletion:
    """A deletion of the past; ``trials``: how many are still deleted."""

    deletion_id: str
    deleted_at: datetime
    restored_at: datetime | None
    reason: str | None
    trials: int


@dataclass(frozen=True, slots=True)
class Restored:
    """Restored trials, and those that keep a newer result."""

    deletion_id: str
    trials: tuple[str, ...]
    ran_again: tuple[str, ...]


def delete(
    database: Path, which: TrialFilter, *, reason: str | None = None, command: str | None = None, dry_run: bool = False
) -> Deletion:
    """Let stored trials count as not stored: for plans, verdicts, pages, exports and queries.

    Their rows are marked, their folders renamed, until :func:`restore`.

    Raises:
        HarnessError: the filter is empty, names something that is not stored, or no trial matches.
    """
    with open_reader(database) as reader:
        matching = select_trials(reader, which)
    trials = tuple(trial for trial in matching if trial.status in ENDED)
    if not trials:
        more = f"; {len(matching)} that match are queued or running" if matching else ""
        raise HarnessError(
            f"nothing to delete: no ended trial matches{more}. 'harness list trials' lists stored trials"
        )
    ids = [trial.trial_id for trial in trials]
    deletion_id = None
    if dry_run:
        with open_reader(database) as reader:
            _, verdicts = withdrawn_verdicts(reader, ids)
    else:
        with Writer(database) as owner:
            deletion_id, verdicts = delete_trials(owner, ids, reason, command)
    return Deletion(deletion_id, trials, len(matching) - len(trials), tuple(verdicts))


def delete_trials(
    owner: Writer, trial_ids: Sequence[str], reason: str | None, command: str | None
) -> tuple[str, list[Withdrawn]]:
    """Mark trials as deleted; returns the deletion's id and the claims whose verdicts are withdrawn."""
    deletion_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    with owner.reader() as reader:
        rows, verdicts = withdrawn_verdicts(reader, trial_ids)
    owner.record(DeletedEvent(deletion_id, trial_ids, rows, reason, command))
    owner.flush()
    for trial in trial_ids:
        folder = owner.paths.artifacts / trial
        if folder.is_dir():
            folder.rename(_aside(folder, deletion_id))
    return deletion_id, verdicts


def select_trials(reader: Reader, which: TrialFilter) -> list[SelectedTrial]:
    """The stored trials that match a filter, whatever their status.

    Raises:
        HarnessError: as :func:`delete`.
    """
    if which.is_empty:
        raise HarnessError("name trials: their ids, --run, --suite, --benchmark, --arm, --seed, --scale or --status")
    conditions = ["true"]
    params: dict[str, str | list[str] | list[int]] = {}
    if which.trials:
        conditions.append("t.trial_id = ANY($trials)")
        params["trials"] = [whole_id(reader, text) for text in which.trials]
    if which.run is not None:
        conditions.append("n.run_id = $run AND NOT n.reused")
        params["run"] = find_run(reader, which.run).run_id
    for column, table in (("suite", "n"), ("benchmark", "n"), ("arm", "n"), ("scale", "t"), ("status", "t")):
        value = getattr(which, column)
        if value is not None:
            _check_stored(reader, column, value)
            conditions.append(f"{table}.{column} = ${column}")
            params[column] = value
    if which.seeds:
        conditions.append("t.seed = ANY($seeds)")
        params["seeds"] = list(which.seeds)
    trials = [SelectedTrial(*row) for row in reader.query(_NAMED.format(where=" AND ".join(conditions)), params)]
    return sorted(trials, key=lambda each: (each.suite, each.benchmark, each.arm, each.seed, each.scale, each.trial_id))


def whole_id(reader: Reader, text: str) -> str:
    """Return the id of the one trial that begins so.

    Raises:
        HarnessError: no or several trials begin so.
    """
    rows = reader.query("SELECT trial_id FROM trials WHERE starts_with(trial_id, ?)", [text]).rows
    if len(rows) != 1:
        what = "no trial begins" if not rows else f"{len(rows)} trials begin"
        raise HarnessError(f"{what} with '{text}'; 'harness list trials' lists them")
    return str(rows[0][0])


def _check_stored(reader: Reader, column: str, value: str) -> None:
    more = {
        "suite": "SELECT suite FROM runs",
        "benchmark": "SELECT benchmark FROM run_trials",
        "arm": "SELECT arm FROM run_trials",
    }.get(column, f"SELECT {column} FROM trials")
    rows = reader.query(f"SELECT DISTINCT {column} FROM (SELECT {column} FROM trials UNION {more})").rows
    stored = [str(name) for (name,) in rows if name is not None]
    if value not in stored:
        raise HarnessError(f"--{column} '{value}': no stored trial has it; {choices(stored, value)}")


def restore(database: Path, which: str) -> Restored:
    """Restore deleted trials as they were; those that have a result again stay as they are now.

    Args:
        which: the id of a deletion, its unique beginning, or ``latest``.

    Raises:
        HarnessError: the deletion is unknown, or was undone before.
    """
    with open_reader(database) as reader:
        deletion = _deletion(reader, which)
        before = _deleted_trials(reader, deletion)
    with Writer(database) as owner:
        owner.record(RestoredEvent(deletion.deletion_id))
        with owner.reader() as reader:
            left = _deleted_trials(reader, deletion)
    restored = tuple(trial for trial in before if trial not in left)
    for trial in restored:
        folder = StorePaths.of(database).artifacts / trial
        aside = _aside(folder, deletion.deletion_id)
        if not aside.is_dir():  # deleted by a version before schema 7
            aside = aside.with_name(aside.name.replace(".deleted-", ".forgotten-"))
        if aside.is_dir():
            remove(folder)  # of a run that did not end: nothing stored names it
            aside.rename(folder)
    return Restored(deletion.deletion_id, restored, tuple(left))


def _deleted_trials(reader: Reader, deletion: StoredDeletion) -> list[str]:
    sql = "SELECT trial_id FROM trials_with_deleted WHERE deleted_at = ? ORDER BY trial_id"
    return [str(trial) for (trial,) in reader.query(sql, [deletion.deleted_at]).rows]


def deletions(reader: Reader) -> list[StoredDeletion]:
    """All deletions, the newest first."""
    return [StoredDeletion(*row) for row in reader.query(_DELETIONS)]


def _deletion(reader: Reader, which: str) -> StoredDeletion:
    stored = deletions(reader)
    active = [each for each in stored if each.trials]
    if which == "latest" and active:
        return active[0]
    matching = [each for each in stored if each.deletion_id.startswith(which)]
    if len(matching) == 1 and not matching[0].trials:
        raise HarnessError(f"deletion '{matching[0].deletion_id}' was undone before: none of its trials is deleted")
    if len(matching) != 1:
        what = "unknown deletion" if not matching else f"{len(matching)} deletions begin with"
        raise HarnessError(f"{what} '{which}'; {choices([each.deletion_id for each in active], which)}")
    return matching[0]


def _aside(folder: Path, deletion_id: str) -> Path:
    return folder.with_name(f"{folder.name}.deleted-{deletion_id}")
