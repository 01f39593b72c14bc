"""Registered methods, tasks, data sources and models by name."""

from harness.registry.index import Entry as Entry
from harness.registry.index import add as add
from harness.registry.index import entries as entries
from harness.registry.index import entry as entry
from harness.registry.index import import_plug_ins as import_plug_ins
from harness.registry.index import load as load
from harness.registry.index import plug_ins as plug_ins
from harness.registry.index import unknown as unknown
