"""Events of the log that delete and restore trials; a rebuild meets them in their place among the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from harness.store.deletion import clear_mark, drop_outcome, mark_deleted
from harness.store.events import KINDS, Event, OutcomeEvent, Parts, Rows
from harness.store.fold import PendingRows, Touched
from harness.store.rows import converted, moment
from harness.vocabulary import FINAL, Protocol, Verdict


@dataclass(frozen=True)
class DeletedEvent(Event):
    """Trials no longer stored, and the verdicts that replace those on them.

    ``verdicts`` are of the same moment as the event: the history of a claim stays, and its newest row says that it
    rests on nothing.
    """

    kind = "deleted"
    alone = True
    parts: ClassVar[Parts] = {"verdicts": ("verdicts", ("claim_id", "scale", "verdict"))}

    deletion_id: str
    trials: Sequence[str]
    verdicts: Rows = ()
    reason: str | None = None
    command: str | None = None

    @classmethod
    def from_json(cls, parts: Mapping[str, Any]) -> Self:
        """The event of a line; before schema 7 it called the deletion ``forget_id``."""
        return super().from_json({"deletion_id": parts.get("forget_id"), **parts})

    def fold(self, rows: PendingRows) -> None:
        """Mark the trials' rows."""
        around = {"protocol": Protocol.PUBLISHED, "judged_at": self.at}
        verdicts = converted("verdicts", self.verdicts, **around)
        row = {"deletion_id": self.deletion_id, "deleted_at": self.at, "reason": self.reason, "command": self.command}
        deletion = converted("deletions", [row])
        mark_deleted(rows.connection, self.trials, verdicts, moment(self.at))
        rows.put("deletions", *deletion)
        rows.put("verdicts", *verdicts)


KINDS["forgotten"] = DeletedEvent  # its name before schema 7


@dataclass(frozen=True)
class RestoredEvent(Event):
    """A deletion is undone: its trials are stored again as they were, except those that have run again."""

    kind = "restored"
    alone = True

    deletion_id: str
    run_id: str | None = None

    @classmethod
    def from_json(cls, parts: Mapping[str, Any]) -> Self:
        """The event of a line; before schema 7 it called the deletion ``forget_id``."""
        return super().from_json({"deletion_id": parts.get("forget_id"), **parts})

    def touches(self) -> Touched:
        """The deletion."""
        return [("deletions", {"deletion_id": self.deletion_id})]

    def fold(self, rows: PendingRows) -> None:
        """Clear the mark, and drop the verdicts that the deletion added."""
        deletion = rows.get("deletions", self.deletion_id)
        if not deletion:
            raise ValueError(f"unknown deletion {self.deletion_id!r}")
        if clear_mark(rows.connection, deletion["deleted_at"]):
            rows.put("deletions", deletion | {"restored_at": moment(self.at)})
        sql = "DELETE FROM verdicts WHERE judged_at = ? AND verdict = ?"
        rows.connection.execute(sql, [deletion["deleted_at"], Verdict.NOT_RUN.value])


@dataclass(frozen=True)
class ReplacedEvent(OutcomeEvent):
    """A trial that had a result ran again: its new result replaces the old one.

    Read from event logs of before schema 7; since then ``--force`` deletes trials before it runs them.
    """

    kind = "replaced"
    alone = True

    def fold(self, rows: PendingRows) -> None:
        """Keep the new result, and the numbers of both in ``events``; skip an outcome without a result."""
        stored = rows.get("trials", self.outcome.trial_id)
        if self.outcome.status not in FINAL or stored.get("status") not in FINAL:
            super().fold(rows)
            return
        converted("results", self.to_json()["results"], trial_id=self.outcome.trial_id)  # refused before anything goes
        before = drop_outcome(rows.connection, self.outcome.trial_id)
        rows.put("trials", stored | {"status": None})
        super().fold(rows)
        detail = {
            "trial_id": self.outcome.trial_id,
            "status": self.outcome.status,
            "replaced": stored["status"],
            "environment_id": self.outcome.environment_id,
            "replaced_environment_id": stored.get("environment_id"),
            "results": self.to_json()["results"],
            "replaced_results": [dict(zip(("split", "metric", "value"), row, strict=True)) for row in before],
        }
        rows.log(self.run_id, self.at, self.kind, detail)
