"""Current results: those of one plan, never of several recipes, codes, protocols or sweep points.

The views ``cell_trials`` and ``current_results`` of the store are the same in SQL. A configuration is a benchmark and
an arm of a suite at a scale; its trials are those of the newest run that requested it, or those of a named run.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from harness.errors import HarnessError, choices
from harness.plan.planning import Plan
from harness.results.stored_runs import find_run
from harness.store.queries import Queries
from harness.suite import Suite
from harness.vocabulary import Status


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
    for name in (field.name for field in fields(ResultFilter)):
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
