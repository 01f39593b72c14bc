"""Current results: those of one plan, never of several recipes, codes, protocols or sweep points.

The views ``cell_trials`` and ``current_results`` of the store are the same in SQL. A configuration is a benchmark and
an arm of a suite at a scale; its trials are those of the newest run that requested it, or those of a named run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError, choices
from harness.plan.imported import ENVIRONMENT
from harness.plan.planning import Plan
from harness.store import Writer, open_reader
from harness.store.events import TaggedEvent
from harness.store.queries import Queries
from harness.suite import Suite
from harness.trial.options import Values
from harness.vocabulary import Protocol, Status

_OWN = f"('{Protocol.PUBLISHED}', '{Protocol.TUNED}')"
JUDGED_BY_ITS_END = f"""(r.finished_at IS NULL AND v.judged_at >= r.started_at
    OR r.status IN ('done', 'incomplete') AND r.environment_id IS DISTINCT FROM '{ENVIRONMENT}'
    AND v.judged_at = (SELECT max(o.judged_at) FROM verdicts o WHERE o.suite = r.suite AND o.scale = r.scale
      AND o.protocol IN {_OWN} AND o.judged_at <= r.finished_at))"""
"""SQL condition: verdict ``v`` was the current one when run ``r`` ended (unchanged verdicts are not stored again)."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A row of ``runs`` with parts of its spec.

    Attributes:
        roles: of the suite's arms, in the order of its file.
        benchmarks: by name in the order of the file: ``data``, ``model``, ``recipe``, ``metrics`` and ``stand_in_name``
            (the last two are absent in runs of older versions).
        overrides: ``--set`` of the run, by dotted key.
    """

    run_id: str
    suite: str
    scale: str
    started_at: str
    git_commit: str
    git_dirty: bool
    command: str
    environment_id: str
    roles: Mapping[str, str] = field(repr=False)
    benchmarks: Mapping[str, Mapping[str, Any]] = field(repr=False)
    overrides: Values = field(default_factory=Values)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> StoredRun:
        spec = row["spec"] if isinstance(row["spec"], Mapping) else {}
        value = spec.get("overrides")
        return cls(
            str(row["run_id"]),
            str(row["suite"]),
            str(row["scale"]),
            str(row["started_at"] or ""),
            str(row["git_commit"] or ""),
            bool(row["git_dirty"]),
            str(row["command"] or ""),
            str(row["environment_id"] or ""),
            {name: str(arm.get("role")) for name, arm in (spec.get("arms") or {}).items()},
            spec.get("benchmarks") or {},
            _typed_overrides(str(row["command"] or "")) if value is None else Values(value),
        )

    @property
    def commit(self) -> str:
        """The first digits of the commit; + if files differed from it."""
        return f"{self.git_commit[:10]}{'+' if self.git_dirty else ''}" if self.git_commit else ""

    @property
    def changed(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.overrides.items())


def _typed_overrides(command: str) -> Values:
    """Return ``--set`` of a command line: runs of older versions stored nothing else of it."""
    try:
        words = shlex.split(command)
    except ValueError:
        return Values()
    pairs = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--set"]
    pairs += [word.removeprefix("--set=") for word in words if word.startswith("--set=")]
    return Values({key: value for key, equals, value in (pair.partition("=") for pair in pairs) if equals})


def find_run(reader: Queries, text: str) -> StoredRun:
    """Return a run by its id, its unique beginning, or a tag.

    ``latest`` is the newest run, ``previous`` the one before it of the same suite and scale.

    Raises:
        HarnessError: no or several runs fit.
    """
    tagged = reader.query("SELECT run_id FROM tags WHERE tag = ? ORDER BY run_id", [text]).rows
    if len(tagged) > 1:
        names = ", ".join(str(run) for (run,) in tagged)
        raise HarnessError(f"{len(tagged)} runs have the tag '{text}': {names}; name one of them")
    runs = sorted(map(StoredRun.of, reader.query("FROM runs").dicts()), key=lambda run: (run.started_at, run.run_id))
    if text in ("latest", "previous") and runs:
        newest = runs[-1]
        before = [run for run in runs[:-1] if (run.suite, run.scale) == (newest.suite, newest.scale)]
        if text == "previous" and not before:
            raise HarnessError(
                f"there is no run before {newest.run_id} of suite '{newest.suite}' at {newest.scale}; "
                "'harness list runs' lists them"
            )
        return newest if text == "latest" else before[-1]
    wanted = str(tagged[0][0]) if tagged else text
    fitting = [run for run in runs if run.run_id.startswith(wanted)]
    if len(fitting) != 1:
        what = "no run begins" if not fitting else f"{len(fitting)} runs begin"
        raise HarnessError(f"{what} with '{text}'; 'harness list runs' lists them")
    return fitting[0]


def stored_runs(reader: Queries, run_ids: Iterable[str]) -> dict[str, StoredRun]:
    """Return runs by id."""
    rows = reader.query("SELECT * FROM runs WHERE run_id = ANY(?)", [sorted(set(run_ids))]).dicts()
    return {str(row["run_id"]): StoredRun.of(row) for row in rows}


TAG = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,59}")
TAKEN = ("latest", "previous")


def tag_run(database: Path, run: str, names: Sequence[str], *, remove: bool = False) -> tuple[str, list[str]]:
    """Add tags to a run, or remove them; returns its id and its tags.

    Raises:
        HarnessError: an unknown run, a name that is not valid, or with ``remove`` one that the run does not have.
    """
    with open_reader(database) as reader:
        run_id = find_run(reader, run).run_id
        tags = {str(tag) for (tag,) in reader.query("SELECT tag FROM tags WHERE run_id = ?", [run_id]).rows}
    for name in names:
        if remove and name not in tags:
            raise HarnessError(f"run {run_id} has no tag '{name}'; {choices(sorted(tags), name)}")
        if not remove and (name in TAKEN or not TAG.fullmatch(name)):
            raise HarnessError(
                f"'{name}' is not a valid tag: a letter, then letters, digits and _ . + -, 60 at most; not 'latest'"
            )
    if names:
        with Writer(database) as writer:
            writer.record(TaggedEvent(run_id, () if remove else tuple(names), tuple(names) if remove else ()))
            writer.flush()
    return run_id, sorted(tags - set(names) if remove else tags | set(names))


BESIDE = ("mechanism.", "trivial.")
"""Prefixes of metrics that tables show only on request."""


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """Unit and direction of a metric; empty if unknown."""

    name: str
    unit: str = ""
    better: str = ""


def metric_facts(reader: Queries, suite: str, runs: Iterable[StoredRun]) -> dict[str, MetricFacts]:
    """Return unit and direction by metric, from runs, else from claims."""
    sql = "SELECT DISTINCT metric, unit, better FROM claims WHERE suite = ? AND metric IS NOT NULL ORDER BY ALL"
    facts = {row[0]: MetricFacts(row[0], row[1] or "", row[2] or "") for row in reader.query(sql, [suite]).rows}
    for run in reversed(list(runs)):
        for benchmark in run.benchmarks.values():
            for name, metric in (benchmark.get("metrics") or {}).items():
                facts[name] = MetricFacts(name, str(metric.get("unit") or ""), str(metric.get("better") or ""))
    return facts


@dataclass(frozen=True, slots=True)
class Reported:
    """A suite and the plan whose trials are its results."""

    suite: Suite
    plan: Plan


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Requested results; None or empty: all of them.

    Attributes:
        run: an id, its unique beginning, a tag or ``latest``; None: the newest run of each configuration.
        protocol: ``published``, ``tuned`` (chosen settings) or ``rates`` (learning-rate sensitivity).
    """

    suite: str | None = None
    scale: str | None = None
    run: str | None = None
    metric: str | None = None
    split: str | None = None
    benchmarks: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    protocol: str | None = None

    @property
    def asks(self) -> bool:
        """True if anything is left out."""
        return self != ResultFilter()


@dataclass(frozen=True, slots=True)
class ConfigurationTrial:
    """A trial in the configuration for which a run requested it."""

    suite: str
    scale: str
    benchmark: str
    arm: str
    protocol: str
    seed: int
    status: str
    trial_id: str
    run_id: str
    spec_id: str
    fingerprint: str
    environment_id: str | None

    @property
    def done(self) -> bool:
        """True if it has final numbers."""
        return self.status == Status.DONE


@dataclass(frozen=True, slots=True)
class CurrentResult:
    """A final number of a trial in its configuration."""

    suite: str
    scale: str
    benchmark: str
    arm: str
    protocol: str
    seed: int
    split: str
    metric: str
    value: float
    trial_id: str
    run_id: str


RESULT = tuple(field.name for field in fields(CurrentResult))


def cell_trials(reader: Queries, wanted: ResultFilter | None = None) -> list[ConfigurationTrial]:
    """Return the trials of configurations, with or without a score; ``metric`` and ``split`` are ignored.

    Raises:
        HarnessError: an unknown suite, scale, run, benchmark or arm.
    """
    chosen = _of_configurations(_checked(reader, wanted or ResultFilter(), ()))
    columns = ", ".join(field.name for field in fields(ConfigurationTrial))
    sql = f"SELECT {columns} FROM cell_trials WHERE {chosen.sql} ORDER BY ALL"
    return [ConfigurationTrial(*row) for row in reader.query(sql, chosen.parameters).rows]


def current_results(reader: Queries, wanted: ResultFilter | None = None) -> list[CurrentResult]:
    """Return final numbers of the current trial of each configuration and seed.

    Raises:
        HarnessError: an unknown suite, scale, run, metric, split, benchmark or arm.
    """
    statement = results_statement(reader, wanted or ResultFilter())
    return [CurrentResult(*row) for row in reader.query(statement.sql, statement.parameters).rows]


class Statement(NamedTuple):
    """SQL, or a condition of it, with its named parameters."""

    sql: str
    parameters: dict[str, str | list[str]]


def results_statement(reader: Queries, wanted: ResultFilter) -> Statement:
    """Return the statement of :func:`current_results`; raises as that does."""
    wanted = _checked(reader, wanted, ("metric", "split"))
    chosen = _conditions(wanted)
    if wanted.run is None:
        return Statement(
            f"SELECT {', '.join(RESULT)} FROM current_results WHERE {chosen.sql} ORDER BY ALL", chosen.parameters
        )
    own = {"split", "metric", "value"}  # the run need not be the newest
    columns = ", ".join(f"{'results' if name in own else 'cell_trials'}.{name}" for name in RESULT)
    source = "cell_trials JOIN results ON results.trial_id = cell_trials.trial_id"
    condition = f"{chosen.sql} AND status = '{Status.DONE}'"
    return Statement(f"SELECT {columns} FROM {source} WHERE {condition} ORDER BY ALL", chosen.parameters)


def _conditions(wanted: ResultFilter) -> Statement:
    """A condition on the views."""
    columns = {"run": "run_id", "benchmarks": "benchmark", "arms": "arm"}
    parameters: dict[str, str | list[str]] = {}
    for name in (each.name for each in fields(ResultFilter)):
        if value := getattr(wanted, name):
            parameters[columns.get(name, name)] = value if isinstance(value, str) else list(value)
    terms = [
        f"{name} = ANY(${name})" if isinstance(value, list) else f"{name} = ${name}"
        for name, value in parameters.items()
    ]
    return Statement(" AND ".join(terms) or "true", parameters)


def _of_configurations(wanted: ResultFilter) -> Statement:
    """A condition on ``cell_trials``, without metric and split."""
    chosen = _conditions(replace(wanted, metric=None, split=None))
    return chosen if wanted.run else Statement(f"{chosen.sql} AND newest", chosen.parameters)


def _checked(reader: Queries, wanted: ResultFilter, more: tuple[str, ...]) -> ResultFilter:
    """Return the filter with the whole id of its run; each name must exist among the results of those before it."""
    if wanted.run is not None:
        wanted = replace(wanted, run=find_run(reader, wanted.run).run_id)
    before = ResultFilter(run=wanted.run)
    for name in ("suite", "scale", "benchmarks", "arms", *more):
        values = getattr(wanted, name)
        if not values:
            continue
        column = name.removesuffix("s") if name in ("benchmarks", "arms") else name
        stored = _stored_names(reader, column, before)
        for value in (values,) if isinstance(values, str) else values:
            if value not in stored:
                text = _text(before)
                where = f" among the results of {text}" if text else ""
                raise HarnessError(f"no {column} '{value}'{where}; {choices(stored, value)}")
        before = replace(before, **{name: values})
    return wanted


def _stored_names(reader: Queries, column: str, among: ResultFilter) -> list[str]:
    chosen = _of_configurations(among)
    source = f"cell_trials WHERE {chosen.sql}"
    if column in ("metric", "split"):
        source = f"(SELECT DISTINCT trial_id FROM {source}) JOIN results USING (trial_id)"
    rows = reader.query(f"SELECT DISTINCT {column} FROM {source}", chosen.parameters).rows
    return [str(value) for (value,) in rows]


def _text(among: ResultFilter) -> str:
    named = {"run": among.run, "suite": among.suite, "scale": among.scale}
    parts = [*(f"{name} '{value}'" for name, value in named.items() if value), *among.benchmarks, *among.arms]
    return ", ".join(parts)
