"""The store: an append-only event log that is the record, and a DuckDB file that is a view of it.

Writers use :class:`Writer`, readers :func:`open_reader`. Importing this package loads neither DuckDB nor
pyarrow; they are imported where a file is opened.
"""

from harness.execute.outcome import Outcome as Outcome
from harness.store.errors import StoreDamagedError as StoreDamagedError
from harness.store.errors import StoreError as StoreError
from harness.store.errors import StoreHeldError as StoreHeldError
from harness.store.errors import StoreReadOnlyError as StoreReadOnlyError
from harness.store.event_log import EventLog as EventLog
from harness.store.event_log import segments as segments
from harness.store.events import Event as Event
from harness.store.paths import StorePaths as StorePaths
from harness.store.paths import default_database as default_database
from harness.store.queries import Queries as Queries
from harness.store.queries import QueryResult as QueryResult
from harness.store.readers import Reader as Reader
from harness.store.readers import open_reader as open_reader
from harness.store.rebuild import check as check
from harness.store.rebuild import rebuild as rebuild
from harness.store.rows import TABLES as TABLES
from harness.store.writer import Writer as Writer
