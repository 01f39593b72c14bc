"""``harness list``."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import click

from harness.cli.options import database_option

KINDS = ("suites", "benchmarks", "methods", "tasks", "data", "models", "runs", "trials")


@click.command(name="list", epilog="Example: harness list methods 'adam*'")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("pattern", default="*")
@database_option
@click.option("--stale", is_flag=True, help="Trials that no shipped suite asks for any more.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
def command(kind: str, pattern: str, database: Path, stale: bool, as_json: bool) -> None:
    """List suites, benchmarks, methods, tasks, data, models, runs or trials; PATTERN filters names."""
    rows = _rows(kind, database, stale)
    named = [row for row in rows if fnmatch.fnmatch(str(next(iter(row.values()))), pattern)]
    if as_json:
        click.echo(json.dumps(named, default=str))
        return
    _print(named, kind)


def _rows(kind: str, database: Path, stale: bool) -> list[dict[str, Any]]:
    if kind == "suites":
        return _suites()
    if kind == "benchmarks":
        return _benchmarks()
    if kind in ("runs", "trials"):
        return _stored(kind, database, stale)
    from harness import registry
    from harness.vocabulary import Kind

    names: dict[str, Kind] = {"methods": "method", "tasks": "task", "data": "data", "models": "model"}
    found = registry.entries(names[kind])
    shown = {"methods": ("slot", "role", "family"), "tasks": (), "data": ("origin", "licence"), "models": ()}[kind]
    return [
        {"name": name, **{key: entry.card[key] for key in shown}, "summary": entry.card["summary"]}
        for name, entry in found.items()
    ]


def _suites() -> list[dict[str, Any]]:
    from harness.registry.shipped import suite_files
    from harness.suite import load_suite

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
    from harness.registry.shipped import suite_files
    from harness.suite import load_suite
    from harness.suite.resolve import setting

    rows = []
    for path in suite_files().values():
        suite = load_suite(path)
        for name, benchmark in suite.benchmarks.items():
            scales = [s for s in ("mini", "small", "paper") if setting(suite, name, s) is not None]
            rows.append(
                {"name": name, "suite": suite.name, "task": benchmark.model.task, "scales": " ".join(scales),
                 "title": benchmark.model.title}
            )  # fmt: skip
    return rows


def _stored(kind: str, database: Path, stale: bool) -> list[dict[str, Any]]:
    from harness.store import open_reader

    with open_reader(database) as reader:
        if kind == "runs":
            return reader.query(
                "SELECT run_id, suite, scale, status, started_at, finished_at, "
                "(SELECT count(DISTINCT trial_id) FROM run_trials WHERE run_trials.run_id = runs.run_id) AS trials "
                "FROM runs ORDER BY started_at"
            ).dicts()
        rows = reader.query(
            "SELECT trial_id, suite, benchmark, arm, seed, scale, status, wall_seconds FROM trials "
            "ORDER BY suite, benchmark, arm, seed, scale"
        ).dicts()
    if stale:
        current = _current(sorted({(str(r["suite"]), str(r["scale"])) for r in rows}))
        rows = [row for row in rows if row["trial_id"] not in current]
    return rows


def _current(suites: list[tuple[str, str]]) -> set[str]:
    """The trials that shipped suites ask for today, at any number of seeds up to their largest."""
    from harness.plan.planning import Selection, make_plan
    from harness.registry.shipped import suite_files
    from harness.suite import load_suite

    found: set[str] = set()
    for name, scale in suites:
        if name in suite_files():
            suite = load_suite(name)
            seeds = tuple(range(suite.model.seeds.max))
            found.update(t.trial_id for t in make_plan(suite, Selection(scale=scale, seeds=seeds)).trials)
    return found


def _print(rows: list[dict[str, Any]], kind: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from harness.cli.terminal import console as make_console

    if not rows:
        click.echo(f"no {kind}", err=True)
        return
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(key, value)) for key, value in row.items()))
    make_console().print(table)


def _text(key: str, value: Any) -> str:
    if key == "trial_id":
        return str(value)[:12]
    if isinstance(value, float):
        return f"{value:.1f}"
    return "" if value is None else str(value)
