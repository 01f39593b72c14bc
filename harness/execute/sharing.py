"""Permission to run a trial, where several commands share a database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from harness.execute.outcome import Outcome
from harness.execute.worker import Job


class Sharing(Protocol):
    """Decides which trials this command runs and which it takes from another command."""

    def take(self, job: Job) -> bool:
        """Return True where this command may run the trial; otherwise ``ended`` returns the job later."""
        ...

    def release(self, trial_id: str) -> None:
        """Release a trial whose outcome is stored."""
        ...

    def ended(self) -> Iterator[tuple[Job, Outcome | None]]:
        """Yield jobs that need no more waiting, with another command's result; None: no command runs them."""
        ...

    @property
    def waiting(self) -> int:
        """The number of trials of other commands that this one waits for."""
        ...

    @property
    def holder(self) -> str:
        """A description of the commands that may run them; empty if unknown."""
        ...


class Alone:
    """Sharing with nobody: for trials that leave nothing in the store."""

    waiting = 0
    holder = ""

    def take(self, job: Job) -> bool:
        """Return True."""
        return True

    def release(self, trial_id: str) -> None:
        """Do nothing: no trial was locked."""

    def ended(self) -> Iterator[tuple[Job, Outcome | None]]:
        """Yield nothing."""
        return iter(())
