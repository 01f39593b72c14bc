"""Errors of the store, each a message for a person."""

from harness.errors import HarnessError


class StoreError(HarnessError):
    """The database or its event log cannot do what was requested; the message says what to do."""


class StoreHeldError(StoreError):
    """The database file is in use by ``holder``; never fatal for a writer, which goes on logging and tries again."""

    def __init__(self, message: str, holder: str = "another process") -> None:
        super().__init__(message)
        self.holder = holder


class StoreReadOnlyError(StoreError):
    """The database's folder or file system cannot be written; it can be read."""


class StoreDiskError(StoreError):
    """The disk does not take what is to be written: it is full, read-only, or files may not grow as large."""


class StoreDamagedError(StoreError):
    """The database file cannot be opened; ``harness db rebuild`` rebuilds it."""
