"""The store: an append-only journal that is the record, and a DuckDB file that is a view of it.

Writers use :class:`Owner`, readers :func:`open_reader`. Importing this package loads neither DuckDB nor
pyarrow; they are imported where a file is opened.
"""

from harness.store.errors import StoreDamagedError, StoreError, StoreHeldError
from harness.store.events import Event
from harness.store.journal import Journal, segments
from harness.store.outcome import Outcome
from harness.store.owner import Owner
from harness.store.paths import StorePaths, default_database
from harness.store.queries import Queries, QueryResult
from harness.store.readers import Reader, open_reader
from harness.store.rebuild import Rebuilt, StoreProblem, check, rebuild
from harness.store.tables import TABLES

__all__ = [
    "TABLES",
    "Event",
    "Journal",
    "Outcome",
    "Owner",
    "Queries",
    "QueryResult",
    "Reader",
    "Rebuilt",
    "StoreDamagedError",
    "StoreError",
    "StoreHeldError",
    "StorePaths",
    "StoreProblem",
    "check",
    "default_database",
    "open_reader",
    "rebuild",
    "segments",
]
