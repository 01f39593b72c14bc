"""What a worker says before it ends itself: an outcome in the trial's folder, which its owner reads too."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.trial.files import replacing

FILE = "last-words.json"


def say(job: Job, outcome: Outcome) -> None:
    """Leave an outcome behind."""
    with replacing(job.folder / FILE) as part:
        part.write_text(json.dumps({**outcome.to_json(), "crashed": outcome.crashed}), encoding="utf-8")


def forget(job: Job) -> None:
    """Nothing is known of an earlier attempt."""
    with contextlib.suppress(OSError):
        (job.folder / FILE).unlink()


def heard(job: Job) -> Outcome | None:
    """What the worker of this attempt said, once; None where it said nothing."""
    file: Path = job.folder / FILE
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        parts = json.loads(file.read_text(encoding="utf-8"))
        file.unlink()
        outcome = Outcome.from_json(parts)
        return replace(outcome, crashed=bool(parts["crashed"])) if outcome.attempts == job.attempt else None
    return None
