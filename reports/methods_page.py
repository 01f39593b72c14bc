"""Methods and data sources with papers and licences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from harness import registry
from harness.plan.planning import sources_of
from harness.vocabulary import Kind
from reports import words
from reports.provenance import provenance
from reports.reading import Gathered
from reports.render import Page


def methods_page(found: Sequence[Gathered]) -> Page:
    """What was compared and on what, as the trials of the plans have it."""
    methods: dict[str, set[str]] = defaultdict(set)
    models: set[str] = set()
    sources: set[str] = set()
    for one in found:
        for trial in one.plan.trials:
            for name in _slots(trial.spec.get("slots") or {}):
                methods[name].add(f"{one.name}/{trial.arm}")
            models.add(str(trial.spec["model"].get("name")))
        sources.update(name for name, _ in sources_of(one.plan.trials))
    content: dict[str, Any] = {
        "methods": [_entry("method", name, ("title", "slot", "role", "paper", "summary", "defaults"))
                    | {"arms": sorted(arms)} for name, arms in sorted(methods.items())],
        "sources": [_entry("data", name, ("summary", "origin", "home", "licence", "size", "version", "fetch", "sha256"))
                    for name in sorted(sources)],
        "models": [_entry("model", name, ("summary", "source")) for name in sorted(models)],
        "provenance": provenance(found),
        "meanings": [(word, tone.meaning) for word, tone in words.VERDICTS.items()],
    }  # fmt: skip
    return Page("methods.html", "methods.html", "Methods and data", content, (("index.html", "Report"),))


def _slots(slots: Any) -> Iterator[str]:
    """Names of the methods in slots, also where a norm slot is given per place."""
    for value in slots.values():
        if isinstance(value, dict):
            if isinstance(value.get("name"), str):
                yield value["name"]
            else:
                yield from _slots(value)


def _entry(kind: Kind, name: str, keys: Sequence[str]) -> dict[str, Any]:
    """What the registry says of a name; a method of a user's own file may be unknown to this process."""
    entry = registry.entries(kind).get(name)
    card = entry.card if entry else None
    return {"name": name, **{key: getattr(card, key, None) or "" for key in keys}}
