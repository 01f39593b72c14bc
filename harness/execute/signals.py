"""A scheduler's or ``kill``'s SIGTERM ends a command as Ctrl-C does: in order, with what had finished stored."""

from __future__ import annotations

import signal
import threading


def end_as_interrupted() -> None:
    """From now on SIGTERM raises KeyboardInterrupt; other threads than the main one cannot ask for it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
