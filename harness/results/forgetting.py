"""Stored trials that are to count as not stored: chosen, forgotten, brought back. The journal keeps them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.base.folders import remove
from harness.errors import HarnessError, choices
from harness.judge.withdrawal import withdrawn_verdicts
from harness.results.tagging import run_of
from harness.store import Owner, Reader, StorePaths, open_reader
from harness.store.hygiene_events import ForgottenEvent, RestoredEvent
from harness.vocabulary import Status

ENDED = tuple(status.value for status in Status if status not in (Status.QUEUED, Status.RUNNING))

_NAMED = """
WITH named AS (
  SELECT trial_id, suite, benchmark, arm, NULL AS run_id, false AS reused FROM trials
  UNION SELECT k.trial_id, r.suite, k.benchmark, k.arm, k.run_id, k.reused FROM run_trials k JOIN runs r USING (run_id))
SELECT DISTINCT ON (t.trial_id) t.trial_id, n.suite, n.benchmark, n.arm, t.seed, t.scale, t.status
FROM named n JOIN trials t USING (trial_id) WHERE {where}
ORDER BY t.trial_id, n.suite, n.benchmark, n.arm"""


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """Which trials: those that fit everything that is given.

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
        """Whether it asks for nothing in particular."""
        return not any(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True, slots=True)
class ChosenTrial:
    """A stored trial that a request fits, under the first of its names that fits."""

    trial_id: str
    suite: str
    benchmark: str
    arm: str
    seed: int
    scale: str
    status: str


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What is, or would be, forgotten.

    Attributes:
        forget_id: what ``undo`` takes; empty where nothing was done.
        unended: trials that fit but wait or run: they have no result to forget.
        verdicts: (suite, claim, scale, protocol) whose newest verdict rests on some of the trials.
    """

    forget_id: str
    trials: tuple[ChosenTrial, ...]
    unended: int
    verdicts: tuple[tuple[str, str, str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        named = [dict(zip(("suite", "claim_id", "scale", "protocol"), one, strict=True)) for one in self.verdicts]
        return {
            "forget_id": self.forget_id or None,
            "trials": [asdict(trial) for trial in self.trials],
            "unended": self.unended,
            "verdicts": named,
        }


@dataclass(frozen=True, slots=True)
class Restored:
    """A forgetting that was undone: what came back, and what had run again meanwhile and stays as it is now."""

    forget_id: str
    trials: tuple[str, ...]
    ran_again: tuple[str, ...]


def forget(
    database: Path,
    request: ForgetRequest,
    *,
    reason: str | None = None,
    command: str | None = None,
    dry_run: bool = False,
) -> Forgetting:
    """Let stored trials count as not stored: for plans, verdicts, pages, exports and queries.

    Their rows stand in the schema ``forgotten``, their files beside their folders, until :func:`undo`.

    Raises:
        HarnessError: nothing is asked for, a name that nothing stored has, or no trial fits.
    """
    with open_reader(database) as reader:
        fitting = chosen_trials(reader, request)
    trials = tuple(trial for trial in fitting if trial.status in ENDED)
    if not trials:
        more = f"; {len(fitting)} that fit wait or run" if fitting else ""
        raise HarnessError(f"nothing to forget: no ended trial fits{more}. 'harness list trials' lists what is stored")
    ids = [trial.trial_id for trial in trials]
    forget_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    if dry_run:
        with open_reader(database) as reader:
            rows = withdrawn_verdicts(reader, ids, forget_id)
    else:
        with Owner(database) as owner:
            owner.flush()
            with open_reader(database) as reader:
                rows = withdrawn_verdicts(reader, ids, forget_id)
            owner.record(ForgottenEvent(forget_id, ids, rows, reason, command))
            owner.flush()
        for trial in ids:
            folder = _folder(database, trial)
            if folder.is_dir():
                folder.rename(_aside(folder, forget_id))
    verdicts = tuple((str(row["suite"] or ""), row["claim_id"], row["scale"], row["protocol"]) for row in rows)
    return Forgetting("" if dry_run else forget_id, trials, len(fitting) - len(trials), verdicts)


def chosen_trials(reader: Reader, request: ForgetRequest) -> list[ChosenTrial]:
    """The stored trials that fit a request, whatever their status.

    Raises:
        HarnessError: as :func:`forget`.
    """
    if request.is_empty:
        raise HarnessError(
            "say which trials: their ids, --run, --suite, --benchmark, --arm, --seed, --scale or --status"
        )
    conditions = ["true"]
    given: dict[str, Any] = {}
    if request.trials:
        conditions.append("t.trial_id = ANY($trials)")
        given["trials"] = [_whole_id(reader, text) for text in request.trials]
    if request.run is not None:
        conditions.append("n.run_id = $run AND NOT n.reused")
        given["run"] = run_of(reader, request.run)
    for column, table in (("suite", "n"), ("benchmark", "n"), ("arm", "n"), ("scale", "t"), ("status", "t")):
        value = getattr(request, column)
        if value is not None:
            _must_be_stored(reader, column, value)
            conditions.append(f"{table}.{column} = ${column}")
            given[column] = value
    if request.seeds:
        conditions.append("t.seed = ANY($seeds)")
        given["seeds"] = list(request.seeds)
    rows = reader.query(_NAMED.format(where=" AND ".join(conditions)), given).rows
    found = [ChosenTrial(*row) for row in rows]
    return sorted(found, key=lambda one: (one.suite, one.benchmark, one.arm, one.seed, one.scale, one.trial_id))


def _whole_id(reader: Reader, text: str) -> str:
    rows = reader.query("SELECT trial_id FROM trials WHERE starts_with(trial_id, ?)", [text]).rows
    if len(rows) != 1:
        what = "no trial begins" if not rows else f"{len(rows)} trials begin"
        raise HarnessError(f"{what} with '{text}'; 'harness list trials' lists them")
    return str(rows[0][0])


def _must_be_stored(reader: Reader, column: str, value: str) -> None:
    more = {
        "suite": "SELECT suite FROM runs",
        "benchmark": "SELECT benchmark FROM run_trials",
        "arm": "SELECT arm FROM run_trials",
    }.get(column, f"SELECT {column} FROM trials")
    rows = reader.query(f"SELECT DISTINCT {column} FROM (SELECT {column} FROM trials UNION {more})").rows
    known = [str(name) for (name,) in rows if name is not None]
    if value not in known:
        raise HarnessError(f"--{column} '{value}': no stored trial has it; {choices(known, value)}")


def undo(database: Path, which: str) -> Restored:
    """Bring a forgetting's trials back as they were; those that have a result again stay as they are.

    Args:
        which: the id of a forgetting, its unique beginning, or ``latest``.

    Raises:
        HarnessError: there is no such forgetting, or it was undone already.
    """
    with open_reader(database) as reader:
        forget_id = str(_forgetting(reader, which)["forget_id"])
        sql = "SELECT trial_id FROM forgotten.trials WHERE forget_id = ? ORDER BY trial_id"
        before = [str(trial) for (trial,) in reader.query(sql, [forget_id]).rows]
    with Owner(database) as owner:
        owner.record(RestoredEvent(forget_id))
        owner.flush()
        with open_reader(database) as reader:
            left = {str(trial) for (trial,) in reader.query(sql, [forget_id]).rows}
    back = tuple(trial for trial in before if trial not in left)
    for trial in back:
        folder = _folder(database, trial)
        if _aside(folder, forget_id).is_dir():
            remove(folder)  # of a run that did not end: nothing stored names it
            _aside(folder, forget_id).rename(folder)
    return Restored(forget_id, back, tuple(trial for trial in before if trial in left))


def forgettings(reader: Reader) -> list[dict[str, Any]]:
    """Everything that was ever forgotten, the newest first, with how many of its trials are forgotten still."""
    return reader.query(
        """SELECT f.*, (SELECT count(*) FROM forgotten.trials t WHERE t.forget_id = f.forget_id) AS trials
        FROM forgettings f ORDER BY forgotten_at DESC"""
    ).dicts()


def _forgetting(reader: Reader, which: str) -> Mapping[str, Any]:
    known: Sequence[Mapping[str, Any]] = forgettings(reader)
    held = [one for one in known if one["trials"]]
    if which == "latest" and held:
        return held[0]
    fitting = [one for one in known if str(one["forget_id"]).startswith(which)]
    if len(fitting) == 1 and not fitting[0]["trials"]:
        raise HarnessError(f"'{fitting[0]['forget_id']}' was undone already; nothing of it is forgotten")
    if len(fitting) != 1:
        what = "nothing was forgotten under" if not fitting else f"{len(fitting)} forgettings begin with"
        raise HarnessError(f"{what} '{which}'; {choices([str(one['forget_id']) for one in held], which)}")
    return fitting[0]


def _folder(database: Path, trial_id: str) -> Path:
    return StorePaths.of(database).artifacts / trial_id


def _aside(folder: Path, forget_id: str) -> Path:
    return folder.with_name(f"{folder.name}.forgotten-{forget_id}")
