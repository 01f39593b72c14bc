"""The public tables and columns as Python sees them: read from the migrations, which are what makes them.

Writers use this to refuse a misspelt column before it reaches the event log, and to convert values on the way into
DuckDB. A test holds it equal to what DuckDB makes of the migrations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_TABLE = re.compile(r"CREATE TABLE (\w+) \((.*?)\n\);", re.DOTALL)
_COLUMN = re.compile(r'^    "?(\w+)"? ((?:VARCHAR|BIGINT|DOUBLE|TIMESTAMP|BOOLEAN|JSON)(?:\[\])?)', re.MULTILINE)
_KEY = re.compile(r"^    PRIMARY KEY \((.*)\)$", re.MULTILINE)
_DROPPED = re.compile(r"^DROP TABLE (\w+);", re.MULTILINE)
_MARKED = re.compile(r"^CREATE VIEW (\w+) AS SELECT \* EXCLUDE \(deleted_at\) FROM (\w+)", re.MULTILINE)
_ADDED = re.compile(r'^ALTER TABLE (\w+) ADD COLUMN "?(\w+)"? (\w+(?:\[\])?)', re.MULTILINE)


@dataclass(frozen=True)
class Migration:
    """One numbered step of the schema."""

    number: int
    name: str
    sql: str


@cache
def migrations() -> tuple[Migration, ...]:
    """The steps that make the schema, in order; ``0002_more.sql`` is number 2, called ``more``."""
    entries = files("harness.store").joinpath("migrations").iterdir()
    named = ((re.fullmatch(r"(\d{4})_(\w+)\.sql", entry.name), entry) for entry in entries)
    steps = (Migration(int(name[1]), name[2], entry.read_text(encoding="utf-8")) for name, entry in named if name)
    return tuple(sorted(steps, key=lambda step: step.number))


def _declared() -> tuple[dict[str, dict[str, str]], dict[str, tuple[str, ...]], dict[str, str]]:
    """Columns with their SQL types, primary keys, and stored tables of views."""
    columns: dict[str, dict[str, str]] = {}
    keys: dict[str, tuple[str, ...]] = {}
    stored: dict[str, str] = {}
    for step in migrations():
        for table, body in _TABLE.findall(step.sql):
            columns[table] = dict(_COLUMN.findall(body))
            if key := _KEY.search(body):
                keys[table] = tuple(name.strip(' "') for name in key[1].split(","))
        for table, column, kind in _ADDED.findall(step.sql):
            columns[table][column] = kind
        stored |= dict(_MARKED.findall(step.sql))
        for table in _DROPPED.findall(step.sql):
            if table not in stored:
                columns.pop(table, None)
                keys.pop(table, None)
    return columns, keys, stored


TABLES, KEYS, STORED = _declared()
"""Columns and primary keys by public name, and the tables that hold deleted rows too, where the name is a view.

``metrics`` has no key on purpose: one costs ten times the insert time.
"""
