"""What a table may be made of: results of one plan, never of several recipes, codes, protocols or sweep points.

The views ``cell_trials`` and ``current_results`` of the store say the same in SQL. A cell is a benchmark and an arm of
a suite at a scale; its trials are those that the newest run which asked for it asked for, or those of one run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.errors import HarnessError, choices
from harness.plan.planning import Plan
from harness.results.stored_runs import find_run
from harness.store.queries import Queries
from harness.suite import Suite
from harness.vocabulary import Status

CELL = (
    "suite",
    "scale",
    "benchmark",
    "arm",
    "protocol",
    "seed",
    "status",
    "trial_id",
    "run_id",
    "spec_id",
    "fingerprint",
    "environment_id",
)
RESULT = ("suite", "scale", "benchmark", "arm", "protocol", "seed", "split", "metric", "value", "trial_id", "run_id")


@dataclass(frozen=True, slots=True)
class Reported:
    """A suite and the plan whose trials are its results."""

    suite: Suite
    plan: Plan


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Which results are asked for; None or empty: all of them.

    Attributes:
        run: an id, its unique beginning, or ``latest``: what this run asked for, instead of the newest of each cell.
        protocol: ``published``, ``tuned`` (what each arm chose) or ``rates`` (the rate curve).
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
        """Whether anything is left out."""
        return self != ResultFilter()


@dataclass(frozen=True, slots=True)
class ConfigurationTrial:
    """A trial in the place where a run asked for it; ``status`` of a trial that has no score says why."""

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
        """Whether it has final numbers."""
        return self.status == Status.DONE


@dataclass(frozen=True, slots=True)
class CurrentResult:
    """A final number of a trial in its cell."""

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


def cell_trials(reader: Queries, wanted: ResultFilter | None = None) -> list[ConfigurationTrial]:
    """The trials of cells, those without a score too; ``metric`` and ``split`` of the filter are not asked.

    Raises:
        HarnessError: a suite, scale, run, benchmark or arm that is not stored.
    """
    wanted = _checked(reader, wanted or ResultFilter(), ())
    chosen = _of_cells(wanted)
    sql = f"SELECT {', '.join(CELL)} FROM cell_trials WHERE {chosen.sql} ORDER BY ALL"
    return [ConfigurationTrial(*row) for row in reader.query(sql, chosen.parameters).rows]


def current_results(reader: Queries, wanted: ResultFilter | None = None) -> list[CurrentResult]:
    """Final numbers of finished trials: of every (suite, scale, benchmark, arm) one recipe and one code.

    Raises:
        HarnessError: a suite, scale, run, metric, split, benchmark or arm that is not stored, with those that are.
    """
    statement = results_statement(reader, wanted or ResultFilter())
    return [CurrentResult(*row) for row in reader.query(statement.sql, statement.parameters).rows]


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL, or a condition of it, with its named parameters."""

    sql: str
    parameters: dict[str, str | list[str]] = field(default_factory=dict)


def results_statement(reader: Queries, wanted: ResultFilter) -> Statement:
    """The statement behind :func:`current_results` with its parameters; raises as that does."""
    wanted = _checked(reader, wanted, ("metric", "split"))
    chosen = _conditions(wanted)
    condition = chosen.sql
    if wanted.run is None:
        columns, source = ", ".join(RESULT), "current_results"
    else:  # the run need not be the newest
        own = {"split", "metric", "value"}
        columns = ", ".join(f"{'results' if name in own else 'cell_trials'}.{name}" for name in RESULT)
        source = "cell_trials JOIN results ON results.trial_id = cell_trials.trial_id"
        condition += f" AND status = '{Status.DONE}'"
    return Statement(f"SELECT {columns} FROM {source} WHERE {condition} ORDER BY ALL", chosen.parameters)


def _conditions(wanted: ResultFilter) -> Statement:
    """A condition on the views with its parameters."""
    named = {
        "suite": wanted.suite,
        "scale": wanted.scale,
        "metric": wanted.metric,
        "split": wanted.split,
        "protocol": wanted.protocol,
        "run_id": wanted.run,
    }
    lists = {"benchmark": list(wanted.benchmarks), "arm": list(wanted.arms)}
    parameters: dict[str, str | list[str]] = {name: value for name, value in named.items() if value}
    parameters |= {name: values for name, values in lists.items() if values}
    terms = [f"{name} = ANY(${name})" if name in lists else f"{name} = ${name}" for name in parameters]
    return Statement(" AND ".join(terms) or "true", parameters)


def _of_cells(wanted: ResultFilter) -> Statement:
    """A condition on ``cell_trials``, without metric and split."""
    chosen = _conditions(replace(wanted, metric=None, split=None))
    return chosen if wanted.run else Statement(f"{chosen.sql} AND newest", chosen.parameters)


def _checked(reader: Queries, wanted: ResultFilter, more: tuple[str, ...]) -> ResultFilter:
    """The filter with the whole id of its run; every name in it is stored beside those before it."""
    if wanted.run is not None:
        wanted = replace(wanted, run=str(find_run(reader, wanted.run)["run_id"]))
    requested: Mapping[str, tuple[str, ...]] = {
        "suite": _one(wanted.suite),
        "scale": _one(wanted.scale),
        "benchmark": wanted.benchmarks,
        "arm": wanted.arms,
        "metric": _one(wanted.metric),
        "split": _one(wanted.split),
    }
    before = ResultFilter(run=wanted.run)
    for name, values in requested.items():
        if not values or (name in ("metric", "split") and name not in more):
            continue
        existing = _known(reader, name, before)
        for value in values:
            if value not in existing:
                where = f" among the results of {text}" if (text := _said(before)) else ""
                raise HarnessError(f"no {name} '{value}'{where}; {choices(existing, value)}")
        column = f"{name}s" if name in ("benchmark", "arm") else name
        before = replace(before, **{column: values if column != name else values[0]})  # type: ignore[arg-type]
    return wanted


def _one(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def _known(reader: Queries, name: str, among: ResultFilter) -> list[str]:
    chosen = _of_cells(among)
    source = f"cell_trials WHERE {chosen.sql}"
    if name in ("metric", "split"):
        source = f"(SELECT DISTINCT trial_id FROM {source}) JOIN results USING (trial_id)"
    rows = reader.query(f"SELECT DISTINCT {name} FROM {source}", chosen.parameters).rows
    return [str(value) for (value,) in rows]


def _said(among: ResultFilter) -> str:
    """What is chosen so far, in words."""
    named = {"run": among.run, "suite": among.suite, "scale": among.scale}
    parts = [*(f"{name} '{value}'" for name, value in named.items() if value), *among.benchmarks, *among.arms]
    return ", ".join(filter(None, parts))
