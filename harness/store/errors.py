"""Errors of the store, each a message for a person."""

from __future__ import annotations

from harness.errors import HarnessError


class StoreError(HarnessError):
    """The database or its journal cannot do what was asked; the message says what to do."""


class StoreHeldError(StoreError):
    """Another process holds the database file. ``holder`` names it as far as the system tells.

    Never fatal for an owner: it goes on journalling and tries again.
    """

    def __init__(self, message: str, holder: str = "another process") -> None:
        super().__init__(message)
        self.holder = holder


class StoreDamagedError(StoreError):
    """The database file cannot be opened; ``harness db rebuild`` makes it again."""
