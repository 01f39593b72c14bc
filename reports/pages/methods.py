"""Methods and data sources with papers and licences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from harness import registry
from harness.plan.planning import sources_of
from harness.vocabulary import Kind, Verdict
from reports.data.provenance import provenance
from reports.data.suite_results import SuiteResults
from reports.pages.render import Page


def methods_page(suites: Sequence[SuiteResults]) -> Page:
    """What was compared and on what, as the trials of the plans have it."""
    methods: dict[str, set[str]] = defaultdict(set)
    models: set[str] = set()
    sources: set[str] = set()
    for results in suites:
        for trial in results.plan.trials:
            for name in {method.name for method in trial.spec.slots}:
                methods[name].add(f"{results.name}/{trial.arm}")
            models.add(trial.spec.model.name)
        sources.update(name for name, _ in sources_of(results.plan.trials))
    about = ("title", "slot", "role", "paper", "summary", "defaults")
    origin = ("summary", "origin", "home", "licence", "size", "version", "fetch", "sha256")
    content: dict[str, Any] = {
        "methods": [_entry("method", name, about) | {"arms": sorted(arms)} for name, arms in sorted(methods.items())],
        "sources": [_entry("data", name, origin) for name in sorted(sources)],
        "models": [_entry("model", name, ("summary", "source")) for name in sorted(models)],
        "provenance": provenance(suites),
        "verdicts": list(Verdict),
    }
    return Page("methods.html", "methods.html", "Methods and data", content, (("index.html", "Report"),))


def _entry(kind: Kind, name: str, keys: Sequence[str]) -> dict[str, Any]:
    """What the registry says of a name; a method of a user's own file may be unknown to this process."""
    entry = registry.entries(kind).get(name)
    card = entry.card if entry else None
    return {"name": name, **{key: getattr(card, key, None) or "" for key in keys}}
