"""The identity of a trial: sha256 of its complete content, and of the code that computes it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from harness import registry
from harness.plan.fingerprint import fingerprint
from harness.trial.spec import TrialSpec


def trial_id(spec_id: str, code: str) -> str:
    """The identity of a trial: content and code together."""
    return hashlib.sha256(f"{spec_id}/{code}".encode()).hexdigest()


def roots(spec: TrialSpec) -> Iterator[str]:
    """The modules, with the class or function of each, that a trial's numbers come from."""
    starts = [start for start in (spec.reference, *spec.prerequisites.values()) if start is not None]
    yield registry.entry("task", spec.task).root
    yield registry.entry("data", spec.data.name).root
    for model in (spec.model, *(start.model for start in starts)):
        if model is not None:  # published weights may be read by name: no model is built for them
            yield registry.entry("model", model.name).root
    for slots in (spec.slots, *(start.slots for start in starts)):
        yield from (registry.entry("method", method.name).root for method in slots)


def code_of(spec: TrialSpec) -> str:
    """The fingerprint of a trial's code."""
    return fingerprint(roots(spec))
