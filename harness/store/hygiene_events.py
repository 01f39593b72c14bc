"""The journal's events that tidy a store: names of runs, trials that are forgotten and brought back, replaced outcomes.

A rebuild meets them at their place among the others and arrives at the same state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.store.events import Event, OutcomeEvent, Parts, Rows, Touched
from harness.store.forgotten import bring_back, drop_outcome, left_of, set_aside, set_gates_aside
from harness.store.rows import converted
from harness.vocabulary import FINAL, Protocol

if TYPE_CHECKING:
    from harness.store.fold import PendingRows


@dataclass(frozen=True)
class TaggedEvent(Event):
    """Names given to a run, and names taken from it."""

    kind = "tagged"

    run_id: str
    tags: Sequence[str] = ()
    removed: Sequence[str] = ()

    def fold(self, rows: PendingRows) -> None:
        """Add and remove them."""
        named = [{"run_id": self.run_id, "tag": tag, "tagged_at": self.at} for tag in self.tags]
        made = converted("tags", named)
        for tag in self.removed:
            rows.drop("tags", self.run_id, tag)
        rows.put("tags", *made)


@dataclass(frozen=True)
class ForgottenEvent(Event):
    """Trials that count as not stored from now on, and what stands in the place of verdicts that rest on them.

    ``verdicts`` are of the same moment as the event: the history of a claim stays, and its newest row says that it
    rests on nothing.
    """

    kind = "forgotten"
    alone = True
    parts: ClassVar[Parts] = {"verdicts": ("verdicts", ("claim_id", "scale", "verdict"))}

    forget_id: str
    trials: Sequence[str]
    verdicts: Rows = ()
    reason: str | None = None
    command: str | None = None

    def fold(self, rows: PendingRows) -> None:
        """Set the trials' rows aside."""
        around = {"protocol": Protocol.PUBLISHED, "judged_at": self.at}
        verdicts = converted("verdicts", self.verdicts, **around)
        named = {"forget_id": self.forget_id, "forgotten_at": self.at, "reason": self.reason, "command": self.command}
        forgetting = converted("forgettings", [named])
        set_aside(rows.connection, self.forget_id, self.trials)
        set_gates_aside(rows.connection, self.forget_id, verdicts)
        rows.put("forgettings", *forgetting)
        rows.put("verdicts", *verdicts)


@dataclass(frozen=True)
class RestoredEvent(Event):
    """A forgetting is undone: its trials are stored again as they were, but for those that have run again."""

    kind = "restored"
    alone = True

    forget_id: str
    run_id: str | None = None

    def touches(self) -> Touched:
        """The forgetting."""
        return [("forgettings", {"forget_id": self.forget_id})]

    def fold(self, rows: PendingRows) -> None:
        """Bring the rows back; verdicts are again what they were before."""
        known = rows.get("forgettings", self.forget_id)
        if not known:
            raise ValueError(f"nothing was forgotten under {self.forget_id!r}")
        bring_back(rows.connection, self.forget_id)
        if left_of(rows.connection, self.forget_id) == 0:
            (restored,) = converted("forgettings", [{"forget_id": self.forget_id, "restored_at": self.at}])
            rows.put("forgettings", known | restored)
        withdrawn = "DELETE FROM verdicts WHERE judged_at = ? AND design->>'forget_id' = ?"
        rows.connection.execute(withdrawn, [known["forgotten_at"], self.forget_id])


@dataclass(frozen=True)
class ReplacedEvent(OutcomeEvent):
    """A trial that had a result was run again on demand: a result takes the place of the one before."""

    kind = "replaced"
    alone = True

    def fold(self, rows: PendingRows) -> None:
        """The new result stays, and both ones' numbers in ``events``; an outcome without a result changes nothing."""
        known = rows.get("trials", self.outcome.trial_id)
        if self.outcome.status not in FINAL or known.get("status") not in FINAL:
            super().fold(rows)
            return
        converted("results", self.to_json()["results"], trial_id=self.outcome.trial_id)  # refused before anything goes
        before = drop_outcome(rows.connection, self.outcome.trial_id)
        rows.put("trials", known | {"status": None})
        super().fold(rows)
        detail = {
            "trial_id": self.outcome.trial_id,
            "status": self.outcome.status,
            "replaced": known["status"],
            "environment_id": self.outcome.environment_id,
            "replaced_environment_id": known.get("environment_id"),
            "results": self.to_json()["results"],
            "replaced_results": [dict(zip(("split", "metric", "value"), row, strict=True)) for row in before],
        }
        rows.log(self, self.kind, detail)
