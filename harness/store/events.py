"""Events of the log, a class a kind: content, check, and effect on the tables' rows.

An event is checked when it is recorded, where its sender can still correct it; the event log is then taken as it
is. The rules of the store live here: the first final outcome of a trial stays, names are those of the first run, claims
replace their suite's. A new kind is one subclass of :class:`Event`, which registers itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Self

from harness.execute.outcome import COLUMNS, Outcome
from harness.store.errors import StoreError
from harness.store.fold import PendingRows, Touched
from harness.store.log_lines import LineContent
from harness.store.rows import TABLES, Columns, Key, Row, arrow_series, convert, converted, moment
from harness.vocabulary import FINAL, Protocol, Status, present_text

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1

KINDS: dict[str, type[Event]] = {}
"""Every kind of event by its word in the event log."""

_FORMER = {"forgotten": "deleted", "forget_id": "deletion_id"}
"""Kinds and parts of lines of before schema 7, by their former words."""

Rows = Sequence[Columns]
"""Rows of a table by column; ``Event.parts`` says of which."""
Parts = Mapping[str, tuple[str, tuple[str, ...]]]
"""Fields that hold a row or rows: of which table, and which columns each row brings along itself."""
CHANGED_IN_PART = ("runs", "trials", "sweeps", "sweep_points")
"""Tables whose events may bring some columns only: their rows are loaded before they are changed."""


@dataclass(frozen=True)
class Event:
    """Something that happened; ``at`` is when, as ISO text in UTC (None: when it is recorded).

    Attributes:
        kind: its word in the event log.
        passing: its loss with the power costs nothing, so that nobody waits for the disk.
        alone: it changes rows that it does not name, and is ingested by its own transaction.
        parts: which fields hold rows, for the check of their columns.
    """

    kind: ClassVar[str]
    passing: ClassVar[bool] = False
    alone: ClassVar[bool] = False
    parts: ClassVar[Parts] = {}

    at: str | None = field(default=None, kw_only=True)

    def __init_subclass__(cls) -> None:
        if "kind" in vars(cls):
            KINDS[cls.kind] = cls

    def check(self) -> None:
        """Refuse what could not be ingested as its sender means it.

        Raises:
            StoreError: a missing part, or an unknown column.
        """
        if missing := [
            entry.name for entry in fields(self) if entry.default is MISSING and getattr(self, entry.name) is None
        ]:
            raise StoreError(f"a {self.kind!r} event needs {', '.join(missing)}")
        for part, (table, needed) in self.parts.items():
            for row in self._rows(part):
                if not isinstance(row, Mapping):
                    kind = type(row).__name__
                    raise StoreError(f"{part} of a {self.kind!r} event holds a {kind} where a row is expected")
                for name in sorted(row.keys() - TABLES[table].keys(), key=str):
                    near = get_close_matches(str(name), TABLES[table], n=1)
                    hint = f"did you mean {near[0]}?" if near else f"columns are {', '.join(TABLES[table])}"
                    raise StoreError(f"{table} has no column {name!r} (a {self.kind!r} event); {hint}")
                if missing := [name for name in needed if row.get(name) is None]:
                    raise StoreError(f"a row of {table} (a {self.kind!r} event) needs {', '.join(missing)}")

    def _rows(self, part: str) -> Rows:
        value: Any = getattr(self, part)
        return [value] if isinstance(value, Mapping) else value

    def to_json(self) -> LineContent:
        """Its parts in the event log, without version, kind and time."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "at"}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, parts: LineContent) -> Self:
        """The event of a line.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: the line makes no sense.
        """
        return cls(**{entry.name: parts[entry.name] for entry in fields(cls) if parts.get(entry.name) is not None})

    def touches(self) -> Touched:
        """The rows that must be loaded before it is folded."""
        parts = self.parts.items()
        return [(table, row) for part, (table, _) in parts if table in CHANGED_IN_PART for row in self._rows(part)]

    def fold(self, rows: PendingRows) -> None:
        """Change the rows that it is about: unless a kind says otherwise, set the columns or keep the rows it brings.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, OverflowError: it makes no sense; nothing was changed.
        """
        tables = [(table, self._rows(part)) for part, (table, _) in self.parts.items() if table not in CHANGED_IN_PART]
        kept = [(table, converted(table, brought)) for table, brought in tables]
        for table, row in self.touches():
            rows.merge(table, row)
        for table, new in kept:
            rows.put(table, *new)


def kind_of(line: LineContent) -> type[Event] | None:
    """The class of a line's kind, which may have a former word; None for an unknown one."""
    word: str = line["kind"]
    return KINDS.get(_FORMER.get(word, word))


def read_event(line: LineContent) -> Event:
    """The event that a line of the event log holds.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: unknown kind or version, or the line makes no sense.
    """
    if line.get("v") != VERSION:
        raise ValueError(f"version {line.get('v')!r} of the event log is not known here")
    if (kind := kind_of(line)) is None:
        raise ValueError(f"no event of kind {line['kind']!r}; kinds are {', '.join(KINDS)}")
    return kind.from_json({_FORMER.get(name, name): part for name, part in line.items()})


@dataclass(frozen=True)
class SessionEvent(Event):
    """A writer began; the first line of its log segment."""

    kind = "session"
    passing = True

    run_id: str | None = None
    pid: int | None = None
    host: str | None = None


@dataclass(frozen=True)
class RunEvent(Event):
    """Columns of a row of ``runs``; later ones add to it."""

    kind = "run"
    parts: ClassVar[Parts] = {"run": ("runs", ("run_id",))}

    run: Columns


@dataclass(frozen=True)
class EnvironmentEvent(Event):
    """The environment of trials."""

    kind = "environment"

    environment_id: str
    info: Columns

    def fold(self, rows: PendingRows) -> None:
        rows.put("environments", convert("environments", {"environment_id": self.environment_id, "info": self.info}))


@dataclass(frozen=True)
class PlannedEvent(Event):
    """The trials that a run asks for, and (``links``) under which names."""

    kind = "planned"
    parts: ClassVar[Parts] = {
        "trials": ("trials", ("trial_id",)),
        "links": ("run_trials", ("trial_id", "benchmark", "arm")),
    }

    run_id: str
    trials: Rows
    links: Rows = ()

    def fold(self, rows: PendingRows) -> None:
        """Queue what has no result; a trial keeps the names under which it was first planned."""
        trials = converted("trials", self.trials)
        links = converted("run_trials", self.links, run_id=self.run_id)
        for trial in trials:
            stored = rows.get("trials", trial["trial_id"])
            blank = {column: value for column, value in trial.items() if stored.get(column) is None}
            if not stored:
                rows.put("trials", {"attempts": 0} | trial | {"status": Status.QUEUED})
            elif stored.get("status") not in FINAL:
                rows.put("trials", stored | blank | {"status": Status.QUEUED, "error": None})
            elif blank:
                rows.put("trials", stored | blank)
        rows.put("run_trials", *links)


@dataclass(frozen=True)
class _TrialEvent(Event):
    """Something of one trial."""

    trial_id: str

    def touches(self) -> Touched:
        return [("trials", {"trial_id": self.trial_id})]


@dataclass(frozen=True)
class StartedEvent(_TrialEvent):
    """An attempt at a trial began; who loses this line has no outcome either and runs the trial again."""

    kind = "started"
    passing = True

    run_id: str | None = None
    attempt: int = 1
    device: str | None = None
    started_at: str | None = None

    def fold(self, rows: PendingRows) -> None:
        """It runs, unless it has a result."""
        stored = rows.get("trials", self.trial_id)
        if stored.get("status") in FINAL:
            return
        attempt = {"trial_id": self.trial_id, "attempts": self.attempt, "device": self.device}
        attempt["started_at"] = self.started_at or self.at
        rows.put("trials", stored | convert("trials", attempt) | {"status": Status.RUNNING})


@dataclass(frozen=True)
class HeartbeatEvent(_TrialEvent):
    """The progress of a running trial."""

    kind = "heartbeat"
    passing = True

    step: int | None = None
    steps: int | None = None
    loss: float | None = None

    def fold(self, rows: PendingRows) -> None:
        """The newest one is kept until the outcome."""
        if rows.get("trials", self.trial_id).get("status") not in FINAL:
            rows.put("progress", convert("progress", {**self.to_json(), "at": self.at}))


@dataclass(frozen=True)
class OutcomeEvent(Event):
    """An attempt at a trial ended."""

    kind = "outcome"

    outcome: Outcome
    run_id: str | None = None

    def check(self) -> None:
        """Refuse an outcome that could not be ingested; raises as :meth:`Outcome.check`."""
        super().check()
        self.outcome.check()

    def to_json(self) -> LineContent:
        """The outcome's parts beside the run."""
        return {**({} if self.run_id is None else {"run_id": self.run_id}), **self.outcome.to_json()}

    @classmethod
    def from_json(cls, parts: LineContent) -> Self:
        """The event of a line; raises as :meth:`Outcome.from_json`."""
        return cls(Outcome.from_json(parts), parts.get("run_id"), at=parts.get("at"))

    def touches(self) -> Touched:
        return [("trials", {"trial_id": self.outcome.trial_id})]

    def fold(self, rows: PendingRows) -> None:
        """The first final outcome stays; any other is replaced, and leaves status and error but no numbers."""
        outcome, trial_id = self.outcome, self.outcome.trial_id
        stored = rows.get("trials", trial_id)
        parts = outcome.to_json()
        if stored.get("status") in FINAL:
            # its numbers are kept aside, so that two outcomes of one trial can be compared
            detail = {
                "trial_id": trial_id,
                "status": outcome.status,
                "kept": stored["status"],
                "environment_id": outcome.environment_id,
                "results": parts["results"],
            }
            rows.log(self.run_id, self.at, "duplicate", detail)
            return
        row = convert("trials", {name: parts[name] for name in COLUMNS if name in parts})
        kept: dict[str, list[Row]] = {}
        series: list[pa.Table] = []
        if outcome.status in FINAL:
            kept = {table: converted(table, parts[table], trial_id=trial_id) for table in ("results", "artifacts")}
            series = [arrow_series(trial_id, curve) for curve in outcome.series]
        rows.put("trials", stored | {"error": None} | row)
        for table, new in kept.items():
            rows.put(table, *new)
        rows.series += series
        rows.drop("progress", trial_id)


@dataclass(frozen=True)
class LogEvent(Event):
    """A line of the table ``events``: a retry, joules, a repeated trial, an added seed."""

    kind = "event"

    event_kind: str
    detail: Any = None
    run_id: str | None = None

    def fold(self, rows: PendingRows) -> None:
        rows.log(self.run_id, self.at, self.event_kind, self.detail)


@dataclass(frozen=True)
class ClaimsEvent(Event):
    """The claims of a suite, which replace those that it had."""

    kind = "claims"
    parts: ClassVar[Parts] = {"claims": ("claims", ("claim_id",))}

    suite: str
    claims: Rows

    def fold(self, rows: PendingRows) -> None:
        rows.replace("claims", {"suite": self.suite}, converted("claims", self.claims, suite=self.suite))


@dataclass(frozen=True)
class VerdictsEvent(Event):
    """Verdicts of claims, the trials and mechanism checks they rest on; ``scale`` and time hold for rows without one.

    Rows that say no protocol, as before there were two, are ``published``.
    """

    kind = "verdicts"
    parts: ClassVar[Parts] = {
        "verdicts": ("verdicts", ("claim_id",)),
        "trials": ("verdict_trials", ("claim_id", "trial_id", "side")),
        "gates": ("gates", ("claim_id",)),
    }

    verdicts: Rows
    trials: Rows = ()
    gates: Rows = ()
    suite: str | None = None
    scale: str | None = None
    judged_at: str | None = None

    def fold(self, rows: PendingRows) -> None:
        """Verdicts keep their history, mechanism checks their last state."""
        of = {"scale": self.scale, "protocol": Protocol.PUBLISHED, "suite": self.suite}
        around = of | {"judged_at": self.judged_at or self.at}
        verdicts = converted("verdicts", self.verdicts, **around)
        for row in verdicts:
            if row.get("verdict"):
                row["verdict"] = present_text(row["verdict"])
        sides = converted("verdict_trials", self.trials, **around)
        names = ("claim_id", "scale", "protocol", "suite")
        gates: dict[Key, list[Row]] = {tuple(verdict[name] for name in names): [] for verdict in verdicts}
        for gate in converted("gates", self.gates, **of):
            gates.setdefault(tuple(gate[name] for name in names), []).append(gate)
        rows.put("verdicts", *verdicts)
        rows.put("verdict_trials", *sides)
        for judged, measured in gates.items():
            rows.replace("gates", dict(zip(names, judged, strict=True)), measured)


@dataclass(frozen=True)
class TaggedEvent(Event):
    """Tags added to a run, and tags removed from it."""

    kind = "tagged"

    run_id: str
    tags: Sequence[str] = ()
    removed: Sequence[str] = ()

    def fold(self, rows: PendingRows) -> None:
        tags = [{"run_id": self.run_id, "tag": tag, "tagged_at": self.at} for tag in self.tags]
        added = converted("tags", tags)
        for tag in self.removed:
            rows.drop("tags", self.run_id, tag)
        rows.put("tags", *added)


@dataclass(frozen=True)
class SweepEvent(Event):
    """Columns of a row of ``sweeps``; later ones add to it."""

    kind = "sweep"
    parts: ClassVar[Parts] = {"row": ("sweeps", ("sweep_id",))}

    row: Columns


@dataclass(frozen=True)
class SweepPointEvent(Event):
    """Columns of a row of ``sweep_points``; later ones add to it."""

    kind = "sweep_point"
    parts: ClassVar[Parts] = {"row": ("sweep_points", ("sweep_id", "arm", "number"))}

    row: Columns


@dataclass(frozen=True)
class AdoptedEvent(Event):
    """Trials of older code that count as today's: rows of ``adoptions``; their outcomes follow under today's names.

    A trial that is adopted again keeps the newest.
    """

    kind = "adopted"
    parts: ClassVar[Parts] = {"adoptions": ("adoptions", ("trial_id", "adopted_from"))}

    adoptions: Rows
    run_id: str | None = None


@dataclass(frozen=True)
class AbandonedEvent(Event):
    """A run's writer died: what it left running runs no more, unless another living run has it too."""

    kind = "abandoned"

    run_id: str
    trials: Sequence[str] = ()

    def touches(self) -> Touched:
        return [("runs", {"run_id": self.run_id}), *(("trials", {"trial_id": trial}) for trial in self.trials)]

    def fold(self, rows: PendingRows) -> None:
        """The run was interrupted, and its unfinished trials are cancelled."""
        run = rows.get("runs", self.run_id)
        if run and run.get("finished_at") is None and run.get("status") in (None, "running"):
            rows.put("runs", run | {"status": "interrupted", "finished_at": moment(self.at)})
        for trial_id in self.trials:
            stored = rows.get("trials", trial_id)
            if stored.get("status") in (Status.QUEUED, Status.RUNNING):
                error = f"run {self.run_id} ended before this trial did"
                rows.put("trials", stored | {"status": Status.CANCELLED, "error": error})
                rows.drop("progress", trial_id)
