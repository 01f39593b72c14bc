"""The identity of a trial: sha256 of its complete content, and of the code that computes it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from harness import registry
from harness.plan.fingerprint import fingerprint


def trial_id(spec_id: str, code: str) -> str:
    """The identity of a trial: content and code together."""
    return hashlib.sha256(f"{spec_id}/{code}".encode()).hexdigest()


def roots(spec: Mapping[str, Any]) -> Iterator[str]:
    """The modules, with the class or function of each, that a trial's numbers come from."""
    for method in methods_of(spec["slots"]):
        yield registry.entry("method", method).root
    yield registry.entry("task", spec["task"]).root
    yield registry.entry("data", spec["data"]["name"]).root
    yield registry.entry("model", spec["model"]["name"]).root
    for other in (spec.get("reference"), *spec.get("prerequisites", {}).values()):
        if other is not None and other["model"]:  # published weights are read by name: no model is built for them
            yield registry.entry("model", other["model"]["name"]).root
            yield from (registry.entry("method", name).root for name in methods_of(other.get("slots", {})))


def methods_of(slots: Mapping[str, Any]) -> Iterator[str]:
    """The names of the methods in filled slots, one per place where a slot is given per place."""
    for filled in slots.values():
        for one in [filled] if "name" in filled else filled.values():
            yield str(one["name"])


def code_of(spec: Mapping[str, Any]) -> str:
    """The fingerprint of a trial's code."""
    return fingerprint(roots(spec))
