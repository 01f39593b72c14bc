"""``harness.open``: what a store holds, as data frames. It is only read."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.errors import HarnessError, choices
from harness.results.tagging import run_of
from harness.results.verdict_records import verdict_frame
from harness.store import default_database, open_reader
from harness.store.queries import Parameters
from harness.suite import Suite, load_suite

if TYPE_CHECKING:
    import pandas as pd

_SUMMARY = """
SELECT r.suite, r.scale, count(DISTINCT r.run_id) AS runs, max(r.started_at) AS newest,
  count(DISTINCT c.trial_id) AS trials, count(DISTINCT c.trial_id) FILTER (t.status = 'done') AS done
FROM runs r LEFT JOIN ({cells}) c USING (suite, scale) LEFT JOIN trials t USING (trial_id)
GROUP BY ALL ORDER BY ALL"""
_WORDS = """
SELECT suite, scale, verdict, count(*) FROM (
  SELECT v.* FROM verdicts v SEMI JOIN claims USING (claim_id, suite) WHERE protocol = 'published'
  QUALIFY row_number() OVER (PARTITION BY suite, claim_id, scale ORDER BY judged_at DESC) = 1)
WHERE verdict <> 'not run' GROUP BY ALL ORDER BY ALL"""


def cells_of(run: str | None = None) -> str:
    """SQL for which trials a table is of: ``run_id, suite, scale, benchmark, arm, trial_id``.

    Of each (suite, scale, benchmark, arm) those of the newest run that asked for it, so that no table pools recipes or
    code; a run whose trials were deleted since still is the newest. With ``run`` (the placeholder of
    its id), those of that run. The configurations of a search are left out.
    """
    if run is not None:
        return f"""SELECT k.run_id, r.suite, r.scale, k.benchmark, k.arm, k.trial_id
FROM run_trials k JOIN runs r USING (run_id) WHERE k.run_id = {run} AND NOT contains(k.arm, '#')"""
    return """SELECT k.run_id, r.suite, r.scale, k.benchmark, k.arm, k.trial_id
FROM run_trials k JOIN runs r USING (run_id) WHERE NOT contains(k.arm, '#')
QUALIFY 1 = dense_rank() OVER (
  PARTITION BY r.suite, r.scale, k.benchmark, k.arm ORDER BY r.started_at DESC, k.run_id)"""


def open(path: str | os.PathLike[str] | None = None) -> Database:
    """Open a store for reading; use as a context manager, or call ``close``.

    Args:
        path: of the database; None: ``HARNESS_DB`` or ``results/harness.duckdb``.

    Raises:
        StoreError: there is no such database.
    """
    return Database(default_database() if path is None else Path(path))


class Database:
    """What a store holds, as pandas data frames.

    Without ``run``, every table has of each (suite, scale, benchmark, arm) the trials of the newest run that asked for
    it; with ``run`` (an id, its beginning, a tag, ``latest``) those of that run. So no table pools recipes or code.
    A run that goes on may write meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = open_reader(path, sandbox=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store."""
        self._reader.close()

    def sql(self, statement: str, params: Parameters = ()) -> pd.DataFrame:
        """The answer to one statement that reads.

        Raises:
            StoreError: the statement is wrong, or does more than read.
        """
        return self._reader.frame(statement, params)

    def results(
        self,
        *,
        suite: str | Suite | None = None,
        scale: str | None = None,
        run: str | None = None,
        benchmark: str | None = None,
        arm: str | None = None,
        seed: int | None = None,
        metric: str | None = None,
        split: str | None = None,
    ) -> pd.DataFrame:
        """Final numbers, one row each: ``suite, scale, benchmark, arm, seed, split, metric, value, trial_id, run_id``.

        Raises:
            HarnessError: a name that nothing here has, or no such run.
        """
        names = {
            "suite": suite,
            "scale": scale,
            "benchmark": benchmark,
            "arm": arm,
            "seed": seed,
            "metric": metric,
            "split": split,
        }
        columns = "c.suite, c.scale, c.benchmark, c.arm, t.seed, r.split, r.metric, r.value, c.trial_id, c.run_id"
        return self._asked(columns, "JOIN results r USING (trial_id)", names, run)

    def trials(
        self,
        *,
        suite: str | Suite | None = None,
        scale: str | None = None,
        run: str | None = None,
        benchmark: str | None = None,
        arm: str | None = None,
        seed: int | None = None,
        status: str | None = None,
    ) -> pd.DataFrame:
        """Trials, one row each: names, seed, status, ``wall_seconds``, ``cpu_seconds``, ``peak_memory_mb``, device, …

        ``stand_in`` lists what differs from the paper's setting. Raises as :meth:`results`.
        """
        names = {"suite": suite, "scale": scale, "benchmark": benchmark, "arm": arm, "seed": seed, "status": status}
        columns = (
            "c.suite, c.scale, c.benchmark, c.arm, t.seed, t.status, t.wall_seconds, t.cpu_seconds, t.peak_memory_mb, "
            "t.device, t.error, t.stand_in, t.started_at, t.environment_id, c.trial_id, c.run_id"
        )
        return self._asked(columns, "", names, run)

    def series(
        self,
        name: str | None = None,
        *,
        suite: str | Suite | None = None,
        scale: str | None = None,
        run: str | None = None,
        benchmark: str | None = None,
        arm: str | None = None,
        seed: int | None = None,
        split: str | None = None,
    ) -> pd.DataFrame:
        """Metrics over the training, one row a point: ``split, name, step, epoch, value, elapsed_seconds`` and names.

        Raises as :meth:`results`.
        """
        names = {
            "suite": suite,
            "scale": scale,
            "benchmark": benchmark,
            "arm": arm,
            "seed": seed,
            "split": split,
            "name": name,
        }
        columns = (
            "c.suite, c.scale, c.benchmark, c.arm, t.seed, r.split, r.name, r.step, r.epoch, r.value, "
            "r.elapsed_seconds, c.trial_id, c.run_id"
        )
        return self._asked(columns, "JOIN metrics r USING (trial_id)", names, run)

    def verdicts(self, suite: str | Suite, *, scale: str | None = None) -> pd.DataFrame:
        """The newest verdict of each of a suite's claims, scale and protocol, as ``harness claims`` stored it.

        Columns as of :func:`~harness.results.verdict_records.verdict_frame`.

        Raises:
            HarnessError: no suite of that name was judged here, or not at that scale.
        """
        name = _name(suite)
        self._must_be("suite", name, "SELECT DISTINCT suite FROM verdicts")
        if scale is not None:
            self._must_be("scale", scale, "SELECT DISTINCT scale FROM verdicts WHERE suite = ?", [name])
        claims = [claim for (claim,) in self._reader.query("SELECT claim_id FROM claims WHERE suite = ?", [name]).rows]
        return verdict_frame(self._reader.verdicts(claims, scale, name).dicts(), name)

    def runs(self, *, suite: str | Suite | None = None) -> pd.DataFrame:
        """Runs, the newest first, with their tags."""
        where, value = ("", []) if suite is None else ("WHERE suite = ?", [_name(suite)])
        return self.sql(
            f"""SELECT run_id, suite, scale, status, started_at, finished_at, git_commit, command,
            (SELECT coalesce(list(tag ORDER BY tag), []) FROM tags WHERE tags.run_id = runs.run_id) AS tags
            FROM runs {where} ORDER BY started_at DESC, run_id""",
            value,
        )

    def _asked(self, columns: str, join: str, names: Mapping[str, Any], run: str | None) -> pd.DataFrame:
        """The trials of the table's cells with what is joined to them, where their columns have the given values."""
        values: dict[str, Any] = {
            key: _name(value) if key == "suite" else value for key, value in names.items() if value is not None
        }
        places = {"suite": "c", "scale": "c", "benchmark": "c", "arm": "c", "seed": "t", "status": "t"}
        where = " AND ".join(f"{places.get(key, 'r')}.{key} = ${key}" for key in values) or "true"
        requested = dict(values)
        if run is not None:
            requested["run"] = run_of(self._reader, run)
        body = f"({cells_of(None if run is None else '$run')}) c JOIN trials t USING (trial_id) {join}"
        frame = self.sql(f"SELECT {columns} FROM {body} WHERE {where} ORDER BY ALL", requested)
        if frame.empty:
            existing = {key: value for key, value in requested.items() if key == "run"}
            for key, value in values.items():
                self._must_be(key, value, f"SELECT DISTINCT {places.get(key, 'r')}.{key} FROM {body}", existing)
        return frame

    def _must_be(self, what: str, value: Any, statement: str, given: Parameters = ()) -> None:
        existing = [name for (name,) in self._reader.query(statement, given).rows if name is not None]
        if value not in existing:
            raise HarnessError(f"no {what} '{value}' here; {choices([str(name) for name in existing], str(value))}")

    def _held(self) -> Sequence[tuple[Any, ...]]:
        """Suite, scale, runs, newest run, trials, done ones and verdicts in words, of everything that ran."""
        words: dict[tuple[str, str], list[str]] = {}
        for suite, scale, verdict, count in self._reader.query(_WORDS).rows:
            words.setdefault((suite, scale), []).append(f"{count} {verdict}")
        rows = self._reader.query(_SUMMARY.format(cells=cells_of())).rows
        return [(*row, ", ".join(words.get((row[0], row[1]), ()))) for row in rows]

    def __repr__(self) -> str:
        held = [
            f"{suite} at {scale}: {runs} run{'s' * (runs != 1)}, {done} of {trials} trials done{text and f' ({text})'}"
            for suite, scale, runs, _, trials, done, text in self._held()
        ]
        return f"<harness store {self.path}: {'; '.join(held) or 'no run yet'}>"

    def _repr_html_(self) -> str:
        """The notebook's view: what ran, how much of it is done, and the verdicts."""
        head = "".join(
            f"<th>{name}</th>" for name in ("suite", "scale", "runs", "newest", "trials", "done", "verdicts")
        )
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_text(cell))}</td>" for cell in row) + "</tr>" for row in self._held()
        )
        return f"<p>{html.escape(str(self.path))}</p><table><tr>{head}</tr>{rows}</table>"


def _text(cell: Any) -> str:
    return "" if cell is None else f"{cell:%Y-%m-%d %H:%M}" if hasattr(cell, "strftime") else str(cell)


def _name(suite: str | Suite) -> str:
    """The name of a suite that is given by name, by its file or as itself."""
    if isinstance(suite, Suite):
        return suite.name
    return load_suite(suite).name if suite.endswith((".yaml", ".yml")) else suite
