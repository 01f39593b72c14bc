"""``harness.open``: the content of a store as data frames; it is only read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from harness.errors import HarnessError, choices
from harness.results.current import find_run
from harness.results.verdict_text import verdict_frame
from harness.store import default_database, open_reader
from harness.store.queries import Parameters
from harness.suite import Suite, load_suite

if TYPE_CHECKING:
    import pandas as pd

_REQUESTED = """SELECT k.run_id, r.suite, r.scale, k.benchmark, k.arm, k.trial_id
FROM run_trials k JOIN runs r USING (run_id) WHERE NOT contains(k.arm, '#')"""
"""Trials of runs by configuration, without the configurations of a search."""
_OF_RUN = f"{_REQUESTED} AND k.run_id = $run"
# A run whose trials were deleted still is the newest of its configurations.
_NEWEST = f"""{_REQUESTED} QUALIFY 1 = dense_rank() OVER (
  PARTITION BY r.suite, r.scale, k.benchmark, k.arm ORDER BY r.started_at DESC, k.run_id)"""
_TABLES = {"suite": "c", "scale": "c", "benchmark": "c", "arm": "c", "seed": "t", "status": "t"}
"""Aliases of the tables that have the columns; ``r`` has the others."""


class Names(TypedDict, total=False):
    """Names that narrow a table; ``run`` is an id, its beginning, a tag or ``latest``."""

    suite: str | Suite | None
    scale: str | None
    run: str | None
    benchmark: str | None
    arm: str | None
    seed: int | None


def open(path: str | os.PathLike[str] | None = None) -> Database:
    """Open a store for reading; use as a context manager, or call ``close``.

    Args:
        path: of the database; None: ``HARNESS_DB`` or ``results/harness.duckdb``.

    Raises:
        StoreError: the database does not exist.
    """
    return Database(default_database() if path is None else Path(path))


class Database:
    """The content of a store as pandas data frames.

    Without ``run``, every table has of each (suite, scale, benchmark, arm) the trials of the newest run that requested
    it; with ``run`` those of that run. So no table pools recipes or code. A run may write meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = open_reader(path, sandbox=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()

    def sql(self, statement: str, params: Parameters = ()) -> pd.DataFrame:
        """Return the answer to one statement that reads.

        Raises:
            StoreError: the statement is wrong, or does more than read.
        """
        return self._reader.frame(statement, params)

    def results(self, *, metric: str | None = None, split: str | None = None, **names: Unpack[Names]) -> pd.DataFrame:
        """Final numbers, one row each: ``suite, scale, benchmark, arm, seed, split, metric, value, trial_id, run_id``.

        Raises:
            HarnessError: an unknown name or run.
        """
        columns = "c.suite, c.scale, c.benchmark, c.arm, t.seed, r.split, r.metric, r.value, c.trial_id, c.run_id"
        return self._selected(columns, "JOIN results r USING (trial_id)", {"metric": metric, "split": split}, names)

    def trials(self, *, status: str | None = None, **names: Unpack[Names]) -> pd.DataFrame:
        """Trials, one row each: names, seed, status, ``wall_seconds``, ``cpu_seconds``, ``peak_memory_mb``, device, …

        ``stand_in`` lists what differs from the paper's setting. Raises as :meth:`results`.
        """
        columns = (
            "c.suite, c.scale, c.benchmark, c.arm, t.seed, t.status, t.wall_seconds, t.cpu_seconds, t.peak_memory_mb, "
            "t.device, t.error, t.stand_in, t.started_at, t.environment_id, c.trial_id, c.run_id"
        )
        return self._selected(columns, "", {"status": status}, names)

    def series(self, name: str | None = None, *, split: str | None = None, **names: Unpack[Names]) -> pd.DataFrame:
        """Metrics over the training, one row a point: ``split, name, step, epoch, value, elapsed_seconds`` and names.

        Raises as :meth:`results`.
        """
        columns = (
            "c.suite, c.scale, c.benchmark, c.arm, t.seed, r.split, r.name, r.step, r.epoch, r.value, "
            "r.elapsed_seconds, c.trial_id, c.run_id"
        )
        return self._selected(columns, "JOIN metrics r USING (trial_id)", {"name": name, "split": split}, names)

    def verdicts(self, suite: str | Suite, *, scale: str | None = None) -> pd.DataFrame:
        """The newest verdicts of a suite's claims by scale and protocol.

        Columns as of :func:`~harness.results.verdict_text.verdict_frame`.

        Raises:
            HarnessError: the suite was not judged here, or not at that scale.
        """
        name = _name(suite)
        self._check("suite", name, "SELECT DISTINCT suite FROM verdicts")
        if scale is not None:
            self._check("scale", scale, "SELECT DISTINCT scale FROM verdicts WHERE suite = ?", [name])
        claims = [claim for (claim,) in self._reader.query("SELECT claim_id FROM claims WHERE suite = ?", [name]).rows]
        return verdict_frame(self._reader.verdicts(claims, scale, name).dicts(), name)

    def runs(self, *, suite: str | Suite | None = None) -> pd.DataFrame:
        """Runs, the newest first, with their tags."""
        where, values = ("", []) if suite is None else ("WHERE suite = ?", [_name(suite)])
        return self.sql(
            f"""SELECT run_id, suite, scale, status, started_at, finished_at, git_commit, command,
            (SELECT coalesce(list(tag ORDER BY tag), []) FROM tags WHERE tags.run_id = runs.run_id) AS tags
            FROM runs {where} ORDER BY started_at DESC, run_id""",
            values,
        )

    def _selected(self, columns: str, join: str, more: dict[str, str | None], names: Names) -> pd.DataFrame:
        """Select the rows that have the values of ``names`` and ``more``."""
        if unknown := names.keys() - Names.__annotations__:
            raise TypeError(f"unknown names: {', '.join(sorted(unknown))}; {choices(list(Names.__annotations__))}")
        values = {key: value for key, value in {**names, **more}.items() if value is not None and key != "run"}
        if isinstance(suite := names.get("suite"), str | Suite):
            values["suite"] = _name(suite)
        run = names.get("run")
        of_run = {} if run is None else {"run": find_run(self._reader, run).run_id}
        source = f"({_OF_RUN if of_run else _NEWEST}) c JOIN trials t USING (trial_id) {join}"
        where = " AND ".join(f"{_TABLES.get(key, 'r')}.{key} = ${key}" for key in values) or "true"
        frame = self.sql(f"SELECT {columns} FROM {source} WHERE {where} ORDER BY ALL", {**values, **of_run})
        if frame.empty:
            for key, value in values.items():
                self._check(key, value, f"SELECT DISTINCT {_TABLES.get(key, 'r')}.{key} FROM {source}", of_run)
        return frame

    def _check(self, what: str, value: object, statement: str, params: Parameters = ()) -> None:
        stored = [name for (name,) in self._reader.query(statement, params).rows if name is not None]
        if value not in stored:
            raise HarnessError(f"no {what} '{value}' here; {choices([str(name) for name in stored], str(value))}")

    def __repr__(self) -> str:
        runs, trials = self._reader.query("SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM trials)").rows[0]
        return f"<harness store {self.path}: {runs} runs, {trials} trials>"

    def _repr_html_(self) -> str:
        return str(self.runs().to_html(index=False, border=0))


def _name(suite: str | Suite) -> str:
    """Return the name of a suite, a file or a name."""
    if isinstance(suite, Suite):
        return suite.name
    return load_suite(suite).name if suite.endswith((".yaml", ".yml")) else suite
