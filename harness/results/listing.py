"""What there is, as rows: shipped suites and their benchmarks, registered parts, stored runs and trials."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import registry
from harness.errors import HarnessError, choices
from harness.plan.planning import Selection, make_plan
from harness.registry.shipped import suite_files
from harness.store import open_reader
from harness.suite import load_suite
from harness.suite.cells import setting
from harness.vocabulary import WRITTEN_SCALES, Kind

REGISTERED: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "methods": ("method", ("slot", "role", "family")),
    "tasks": ("task", ()),
    "data": ("data", ("origin", "licence")),
    "models": ("model", ()),
}
KINDS = ("suites", "benchmarks", *REGISTERED, "runs", "trials")


def listed(kind: str, database: Path, *, stale: bool = False) -> list[dict[str, Any]]:
    """The rows of a kind, the name or id first; ``stale``: only trials that no shipped suite asks for any more.

    Raises:
        HarnessError: there is no such kind.
    """
    if kind in REGISTERED:
        registered, shown = REGISTERED[kind]
        return _registered(registered, shown)
    if kind == "suites":
        return _suites()
    if kind == "benchmarks":
        return _benchmarks()
    if kind == "runs":
        return _runs(database)
    if kind == "trials":
        return _trials(database, stale)
    raise HarnessError(f"no list of '{kind}'; {choices(KINDS, kind)}")


def _registered(kind: Kind, shown: tuple[str, ...]) -> list[dict[str, Any]]:
    """Cards; of plug-ins that nobody asked for by name, what is known without importing them."""
    known = registry.entries(kind)
    rows = [
        {"name": name, **{key: getattr(entry.card, key) for key in shown}, "summary": entry.card.summary}
        for name, entry in known.items()
    ]
    waiting = [point for name, point in registry.plug_ins(kind).items() if name not in set(known)]
    return rows + [
        {"name": point.name, **dict.fromkeys(shown, ""), "summary": f"plug-in {point.value}, not imported"}
        for point in waiting
    ]


def _suites() -> list[dict[str, Any]]:
    rows = []
    for name, path in suite_files().items():
        suite = load_suite(path)
        unbound = sum(binding.unbound is not None for binding in suite.model.claims)
        rows.append(
            {"name": name, "benchmarks": len(suite.benchmarks), "arms": len(suite.model.arms),
             "claims": len(suite.facts), "bound": len(suite.facts) - unbound, "title": suite.model.title}
        )  # fmt: skip
    return rows


def _benchmarks() -> list[dict[str, Any]]:
    rows = []
    for path in suite_files().values():
        suite = load_suite(path)
        for name, benchmark in suite.benchmarks.items():
            scales = [scale for scale in reversed(WRITTEN_SCALES) if setting(suite, name, scale) is not None]
            rows.append(
                {"name": name, "suite": suite.name, "task": benchmark.model.task, "scales": " ".join(scales),
                 "title": benchmark.model.title}
            )  # fmt: skip
    return rows


def _runs(database: Path) -> list[dict[str, Any]]:
    with open_reader(database) as reader:
        return reader.query(
            "SELECT run_id, suite, scale, status, started_at, finished_at, "
            "(SELECT count(DISTINCT trial_id) FROM run_trials WHERE run_trials.run_id = runs.run_id) AS trials "
            "FROM runs ORDER BY started_at"
        ).dicts()


def _trials(database: Path, stale: bool) -> list[dict[str, Any]]:
    with open_reader(database) as reader:
        rows = reader.query(
            "SELECT trial_id, suite, benchmark, arm, seed, scale, status, wall_seconds FROM trials "
            "ORDER BY suite, benchmark, arm, seed, scale"
        ).dicts()
    if not stale:
        return rows
    current = current_trials({(str(row["suite"]), str(row["scale"])) for row in rows})
    return [row for row in rows if row["trial_id"] not in current]


def current_trials(suites: Iterable[tuple[str, str]]) -> set[str]:
    """The trials that shipped suites ask for today, by (name, scale), at up to their largest number of seeds."""
    current: set[str] = set()
    for name, scale in suites:
        if name in suite_files():
            suite = load_suite(name)
            seeds = tuple(range(suite.model.seeds.max))
            current.update(trial.trial_id for trial in make_plan(suite, Selection(scale=scale, seeds=seeds)).trials)
    return current
