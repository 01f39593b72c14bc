"""Lists of suites, benchmarks, registered parts, runs and trials."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from harness import registry
from harness.errors import HarnessError, choices
from harness.plan.estimate import StoredCosts
from harness.plan.planning import Plan
from harness.registry.shipped import suite_files
from harness.store import Queries, open_reader
from harness.suite import Suite, load_suite
from harness.suite.cells import setting
from harness.vocabulary import WRITTEN_SCALES, Kind

# A sweep has no row in runs: its trials have a run name that begins with its id, or the run that it is part of.
_RUNS = """SELECT run_id, CASE WHEN spec->>'$.imported.file' IS NULL THEN 'run' ELSE 'import' END AS kind, suite, scale,
  status, started_at, finished_at,
  (SELECT count(DISTINCT trial_id) FROM run_trials WHERE run_trials.run_id = runs.run_id) AS trials,
  (SELECT string_agg(tag, ' ' ORDER BY tag) FROM tags WHERE tags.run_id = runs.run_id) AS tags,
  spec->>'$.imported.file' AS imported_from
FROM runs
UNION ALL
SELECT sweep_id, 'sweep of ' || array_to_string(arms, ', ') || ' on ' || benchmark, suite, scale, status, started_at,
  NULL, (SELECT count(DISTINCT trial_id) FROM (
    SELECT unnest(CAST(trial_ids AS VARCHAR[])) AS trial_id FROM sweep_points p WHERE p.sweep_id = sweeps.sweep_id
    UNION ALL SELECT trial_id FROM run_trials k WHERE starts_with(k.run_id, 'sweep-' || sweeps.sweep_id || '-'))),
  NULL, NULL
FROM sweeps
ORDER BY started_at, run_id"""
_TRIALS = """SELECT trial_id, suite, benchmark, arm, seed, scale, status, wall_seconds,
  spec->>'$.imported.file' AS imported_from FROM trials
ORDER BY suite, benchmark, arm, seed, scale"""
_COSTS = """SELECT benchmark, arm, median(cpu_seconds), max(peak_memory_mb) FROM trials
WHERE suite = ? AND scale = ? AND status = 'done' GROUP BY ALL"""

REGISTERED: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "methods": ("method", ("slot", "role", "family")),
    "tasks": ("task", ()),
    "data": ("data", ("origin", "licence")),
    "models": ("model", ()),
}
KINDS = ("suites", "benchmarks", *REGISTERED, "runs", "trials")


def listed(kind: str, database: Path) -> list[dict[str, Any]]:
    """The rows of a kind, the name or id first.

    Raises:
        HarnessError: an unknown kind.
    """
    if kind in REGISTERED:
        return _registered(*REGISTERED[kind])
    if kind == "suites":
        return [_suite_row(load_suite(path)) for path in suite_files().values()]
    if kind == "benchmarks":
        return [row for path in suite_files().values() for row in _benchmark_rows(load_suite(path))]
    if kind not in KINDS:
        raise HarnessError(f"no list of '{kind}'; {choices(KINDS, kind)}")
    with open_reader(database) as reader:
        return reader.query(_RUNS if kind == "runs" else _TRIALS).dicts()


def measured_costs(plan: Plan, reader: Queries, further: Collection[str] = ()) -> StoredCosts:
    """Return finished trials, and the costs of configurations."""
    stored = frozenset(reader.finished([*(trial.trial_id for trial in plan.trials), *further]))
    rows = reader.query(_COSTS, (plan.suite, plan.scale)).rows
    seconds = {(b, a): float(s) for b, a, s, _ in rows if s is not None}
    memory = {(b, a): float(m) for b, a, _, m in rows if m is not None}
    return StoredCosts(stored, seconds, memory)


def _registered(kind: Kind, shown: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of metadata; plug-ins that are not imported have their name."""
    existing = registry.entries(kind)
    rows = [
        {"name": name, **{key: getattr(entry.metadata, key) for key in shown}, "summary": entry.metadata.summary}
        for name, entry in existing.items()
    ]
    blank = dict.fromkeys(shown, "")
    for name, point in registry.plug_ins(kind).items():
        if name not in existing.keys():  # noqa: SIM118 (``in known`` counts plug-ins too)
            rows.append({"name": name, **blank, "summary": f"plug-in {point.value}, not imported"})
    return rows


def _suite_row(suite: Suite) -> dict[str, str | int]:
    unbound = sum(binding.unbound is not None for binding in suite.model.claims)
    return {
        "name": suite.name,
        "benchmarks": len(suite.benchmarks),
        "arms": len(suite.model.arms),
        "claims": len(suite.facts),
        "bound": len(suite.facts) - unbound,
        "title": suite.model.title,
    }


def _benchmark_rows(suite: Suite) -> Iterator[dict[str, str]]:
    for name, benchmark in suite.benchmarks.items():
        scales = [scale for scale in reversed(WRITTEN_SCALES) if setting(suite, name, scale) is not None]
        facts = {"task": benchmark.model.task, "scales": " ".join(scales), "title": benchmark.model.title}
        yield {"name": name, "suite": suite.name, **facts}
