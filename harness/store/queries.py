"""Queries of the store, each one SQL statement."""

from __future__ import annotations

import abc
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.vocabulary import FINAL

if TYPE_CHECKING:
    import pyarrow as pa

Parameters = Sequence[Any] | dict[str, Any]

IS_FINAL = "status IN (" + ", ".join(f"'{status}'" for status in sorted(FINAL)) + ")"
"""The SQL condition of trials that have a result."""


@dataclass(frozen=True)
class QueryResult:
    """The answer to a query: names and SQL types of the columns, and the rows.

    JSON columns come as their text; :meth:`dicts` parses them.
    """

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def dicts(self) -> list[dict[str, Any]]:
        """One dict a row, with JSON columns parsed."""
        return [
            {
                column: json.loads(value) if kind == "JSON" and isinstance(value, str) else value
                for column, kind, value in zip(self.columns, self.types, row, strict=True)
            }
            for row in self.rows
        ]


class Queries(abc.ABC):
    """Named queries over :meth:`query` and :meth:`arrow`."""

    @abc.abstractmethod
    def query(self, sql: str, params: Parameters = ()) -> QueryResult:
        """The answer to a statement that reads."""

    @abc.abstractmethod
    def arrow(self, sql: str, params: Parameters = ()) -> pa.Table:
        """The same as an Arrow table."""

    def finished(self, trial_ids: Iterable[str]) -> dict[str, str]:
        """Those of the trials that have a result, with their status (``done`` or ``diverged``)."""
        sql = f"SELECT trial_id, status FROM trials WHERE {IS_FINAL} AND trial_id = ANY(?)"
        return dict(self.query(sql, [list(trial_ids)]).rows)

    def statuses(self, trial_ids: Iterable[str]) -> dict[str, str]:
        sql = "SELECT trial_id, status FROM trials WHERE trial_id = ANY(?)"
        return dict(self.query(sql, [list(trial_ids)]).rows)

    def trial(self, trial_id: str) -> dict[str, Any] | None:
        """The row of a trial; ``trial_id`` may be the beginning of one if only one trial begins so."""
        matches = self.query("SELECT * FROM trials WHERE starts_with(trial_id, ?) LIMIT 2", [trial_id]).dicts()
        return matches[0] if len(matches) == 1 else None

    def results(self, trial_ids: Iterable[str]) -> QueryResult:
        """Final numbers: ``trial_id, split, metric, value``."""
        sql = "SELECT trial_id, split, metric, value FROM results WHERE trial_id = ANY(?) ORDER BY ALL"
        return self.query(sql, [list(trial_ids)])

    def artifacts(self, trial_ids: Iterable[str]) -> QueryResult:
        sql = "SELECT * FROM artifacts WHERE trial_id = ANY(?) ORDER BY trial_id, name"
        return self.query(sql, [list(trial_ids)])

    def verdicts(
        self, claim_ids: Iterable[str] | None = None, scale: str | None = None, suite: str | None = None
    ) -> QueryResult:
        """The latest verdict of each claim of each suite, scale and protocol."""
        return self.query(
            """
            SELECT * FROM verdicts
            WHERE ($ids IS NULL OR claim_id = ANY($ids)) AND ($scale IS NULL OR scale = $scale)
              AND ($suite IS NULL OR suite = $suite)
            QUALIFY row_number() OVER (PARTITION BY suite, claim_id, scale, protocol ORDER BY judged_at DESC) = 1
            ORDER BY claim_id, scale, protocol, suite
            """,
            {"ids": None if claim_ids is None else list(claim_ids), "scale": scale, "suite": suite},
        )

    def environments(self, environment_ids: Iterable[str]) -> dict[str, Any]:
        """Descriptions of environments, by id."""
        sql = "SELECT environment_id, info FROM environments WHERE environment_id = ANY(?)"
        return {row["environment_id"]: row["info"] for row in self.query(sql, [list(environment_ids)]).dicts()}
