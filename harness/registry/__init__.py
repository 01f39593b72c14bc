"""What exists, by name: methods, tasks, data sources and models, without importing any of them."""

from harness.registry.index import KINDS as KINDS
from harness.registry.index import Entry as Entry
from harness.registry.index import add as add
from harness.registry.index import entries as entries
from harness.registry.index import entry as entry
from harness.registry.index import load as load
from harness.registry.index import plain as plain
