"""The store: an append-only journal that is the record, and a DuckDB file that is a view of it.

Writers use :class:`Owner`, readers :func:`open_reader`. Importing this package loads neither DuckDB nor
pyarrow; they are imported where a file is opened.
"""

from harness.store.errors import StoreDamagedError, StoreError, StoreHeldError
from harness.store.journal import Journal, segments
from harness.store.owner import Owner
from harness.store.paths import StorePaths, default_database
from harness.store.queries import Queries, Table
from harness.store.readers import Reader, open_reader
from harness.store.rebuild import Problem, Rebuilt, check, rebuild
from harness.store.tables import FINAL, STATUSES, TABLES

__all__ = [
    "FINAL",
    "STATUSES",
    "TABLES",
    "Journal",
    "Owner",
    "Problem",
    "Queries",
    "Reader",
    "Rebuilt",
    "StoreDamagedError",
    "StoreError",
    "StoreHeldError",
    "StorePaths",
    "Table",
    "check",
    "default_database",
    "open_reader",
    "rebuild",
    "segments",
]
