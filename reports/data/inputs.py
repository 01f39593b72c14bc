"""What a page is made of, as a digest: a page whose digest is as it was need not be made again.

Of the store a page's part goes in as hashes of whole rows, trial by trial, of every table that its statements read (a
test holds them to that); of what was gathered already the values themselves; of the code every file. What a page does
not show (when something was judged again with the same outcome) is not in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.data.code import code_digest
from harness.judge.remembered import JUDGED_FROM, suite_texts
from harness.store import Reader
from reports.data import sql
from reports.data.provenance import provenance
from reports.data.sql import Row, ask
from reports.data.suite_results import BenchmarkResults, SuiteResults
from reports.links import trial_path

OF_TRIALS = ("trials", "results", "metrics", "artifacts")
"""Tables of which the rows of a page's trials are in its digest, hashed by the store."""
OF_SUITES = (
    "runs",
    "run_trials",
    "claims",
    "verdicts",
    "verdict_trials",
    "gates",
    "environments",
    "events",
    "sweeps",
    "sweep_points",
    "adoptions",
)
"""Tables of which the answers themselves are in the digests of the pages that show them."""


def digest_of(*parts: Any) -> str:
    """sha256 over plain data and records, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part!r}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


def code() -> str:
    """Everything that computes and draws pages."""
    return code_digest(("reports",), ("plotly", "jinja2", "markupsafe"))


@dataclass(frozen=True)
class Inputs:
    """The digests of the pages of one suite at a scale.

    Attributes:
        linked: whether trials have pages of their own, to which others link.
    """

    reader: Reader
    results: SuiteResults
    linked: bool

    @cached_property
    def _base(self) -> tuple[Any, ...]:
        """What every page of the suite begins with."""
        results = self.results
        return code(), results.title, results.trail, results.path, results.imported, self.linked

    @cached_property
    def _state(self) -> Mapping[str, str]:
        """The stored rows of each trial of the plan, as a digest."""
        parts: dict[str, list[str]] = {}
        statement = state_of(sql.together(self.results.bodies))
        for trial, table, count, state in self.reader.query(statement).rows:
            parts.setdefault(trial, []).append(f"{table} {count} {state}")
        return {trial: digest_of(*sorted(told)) for trial, told in parts.items()}

    @cached_property
    def _files(self) -> Mapping[str, list[Any]]:
        """The files that trials left, by trial, with their size and time of change."""
        files: dict[str, list[Any]] = {}
        for row in ask(self.reader, sql.artifacts_of(sql.together(self.results.bodies))).rows:
            files.setdefault(row["trial_id"], []).append((row["name"], row["path"], *_stat(str(row["path"]))))
        return files

    def _about(self, bench: BenchmarkResults) -> tuple[Any, ...]:
        """What the pages of a benchmark and of its trials show of it, beside numbers."""
        return bench.name, bench.title, sorted((name, str(one)) for name, one in bench.metrics.items()), bench.setting

    def of_trial(self, bench: BenchmarkResults, row: Row) -> str:
        """Of the page of a trial."""
        trial, results = row["trial_id"], self.results
        return digest_of(
            self._base,
            self._about(bench),
            row,
            self._state.get(trial),
            self.results.plan.names.get(trial),
            provenance(results, bench.name, trial),
            results.environments.get(row["environment_id"]),
        )

    @cached_property
    def _benches(self) -> Mapping[str, str]:
        return {name: self._of_bench(bench) for name, bench in self.results.benches.items()}

    def of_bench(self, name: str) -> str:
        """Of the page of a benchmark."""
        return self._benches[name]

    def _of_bench(self, bench: BenchmarkResults) -> str:
        results, suite = self.results, self.results.suite
        trials = [row["trial_id"] for row in bench.trials.rows]
        return digest_of(
            self._base,
            self._about(bench),
            suite.benchmarks[bench.name].model.model_dump_json(),
            [(arm, results.plan.arms[arm].model_dump_json()) for arm in bench.arms],
            bench.body,
            bench.planned,
            bench.asked,
            bench.trials,
            bench.trials.rows,
            results.asked["verdicts"].sql,
            [claim.here(bench.name) for claim in results.judged if bench.name in claim.benchmarks],
            provenance(results, bench.name),
            results.absent(bench.name),
            ask(self.reader, sql.costs_of(bench.body)).rows,
            [(self._state.get(trial), self._files.get(trial)) for trial in trials],
        )

    @cached_property
    def _sweeps(self) -> Sequence[Row]:
        return ask(self.reader, sweeps_state(self.results.name, self.results.scale)).rows

    def of_sweep(self, row: Row) -> str:
        """Of the page of a sweep."""
        results, place = self.results, str(row["benchmark"])
        bench, loaded = results.benches.get(place), results.suite.benchmarks.get(place)
        return digest_of(
            self._base,
            _as_shown(row),
            self._sweeps,
            bench and self._about(bench),
            loaded and loaded.model.model_dump_json(),
            provenance(results, place if bench else None),
        )

    def of_suite(self, paths: Iterable[str]) -> str:
        """Of the suite's own page; ``paths`` are all pages to which it may link."""
        results, known = self.results, set(paths)
        claims = [
            _as_shown(row) for name in ("claims", "verdicts", "gates", "sides") for row in results.asked[name].rows
        ]
        sides = {row["trial_id"] for row in results.asked["sides"].rows}
        return digest_of(
            self._base,
            suite_texts(results.suite, results.plan),
            claims,
            provenance(results),
            results.runs.rows,
            sorted(results.environments.items()),
            results.determinism.rows,
            list(map(_as_shown, results.sweeps)),
            list(self._benches.items()),
            results.plan.links,
            results.plan.absent,
            sorted(trial for trial in sides if trial_path(trial) in known),
            ask(self.reader, sql.bought_of(results.name, results.scale)).rows,
            self._sweeps,
            [_own_file(method.file) for method in results.suite.own_methods],
        )


def state_of(body: str) -> str:
    """The rows of each trial of a plan in the tables of trials, as counts and sums of hashes: any change shows."""
    texts = {
        "results": "split, metric, value",
        "artifacts": "name, kind, path, caption",
        "metrics": "split, name, step, epoch, value, elapsed_seconds",
    }
    hashed = [
        f"SELECT trial_id, {sql.literal(table)} AS part, count(*) AS many,\n"
        f"  sum(hash({columns})::HUGEINT)::VARCHAR AS state\n"
        f"  FROM {table} SEMI JOIN planned USING (trial_id) GROUP BY trial_id"
        for table, columns in texts.items()
    ]
    whole = "SELECT trial_id, 'trials', 1, hash(t)::VARCHAR FROM trials t SEMI JOIN planned USING (trial_id)"
    return f"WITH planned AS ({body})\n" + "\nUNION ALL ".join([*hashed, whole])


def sweeps_state(suite: str, scale: str) -> str:
    """What the pages of a suite's sweeps show, as counts and sums of hashes."""
    own = (
        f"sweep_id IN (SELECT sweep_id FROM sweeps WHERE suite = {sql.literal(suite)} AND scale = {sql.literal(scale)})"
    )
    judged = f"starts_with(suite, {sql.literal(f'{suite}-sweep-')})"
    return f"""SELECT 'sweeps' AS part, count(*) AS many, sum(hash(s)::HUGEINT)::VARCHAR AS state
  FROM sweeps s WHERE {own}
UNION ALL SELECT 'points', count(*), sum(hash(p)::HUGEINT)::VARCHAR FROM sweep_points p WHERE {own}
UNION ALL SELECT 'claims', count(*), sum(hash(c)::HUGEINT)::VARCHAR FROM claims c WHERE {judged}
UNION ALL SELECT 'verdicts', count(*), sum(hash(v)::HUGEINT)::VARCHAR FROM verdicts v WHERE {judged}
ORDER BY part"""


def _as_shown(row: Row) -> dict[str, Any]:
    """A row without what says from which digest it was judged: that is of the whole store."""
    shown = dict(row)
    if isinstance(design := shown.get("design"), Mapping):
        shown["design"] = {name: value for name, value in design.items() if name != JUDGED_FROM}
    return shown


def _stat(path: str) -> tuple[int, int]:
    try:
        state = Path(path).stat()
    except (OSError, ValueError):
        return -1, -1
    return state.st_size, state.st_mtime_ns


def _own_file(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "missing"


def of_site(suites: Sequence[tuple[str, str]]) -> str:
    """Of the pages that are about all suites, whose paths and digests these are."""
    return digest_of(code(), list(suites))
