"""A reader that polls a database until a file appears: ``python soak_readers.py DATABASE KIND STOP``.

Prints, as one JSON list, the seconds of each answer, how many of them it waited for a lock, and how many trials were
done in it. ``KIND``: ``kept`` (one reader
for all), ``fresh`` (one an answer, as a command has), ``browse`` (what its page asks every second).
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb  # noqa: F401 - so that no answer has its import in it

from harness.results.progress import run_progress
from harness.store import locking, open_reader
from harness.store.readers import Reader

PAUSE = 0.5
DONE = "SELECT count(*) FROM trials WHERE status = 'done'"


def counted(reader: Reader) -> int:
    return int(reader.query(DONE).rows[0][0])


def followed(reader: Reader) -> int:
    run_progress(reader)
    return counted(reader)


class Waiting:
    """In the place of the module ``time`` of the locks: what is slept between two looks at a lock."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.monotonic = time.monotonic

    def sleep(self, seconds: float) -> None:
        began = time.monotonic()
        time.sleep(seconds)
        self.seconds += time.monotonic() - began


def poll(database: Path, kind: str, stop: Path) -> list[tuple[float, float, int]]:
    """Answers until ``stop`` is there."""
    answers = []
    waiting = Waiting()
    locking.time = waiting  # type: ignore[assignment]
    ask: Callable[[Reader], int] = followed if kind == "browse" else counted
    with open_reader(database, sandbox=kind != "browse") as kept:
        while not stop.exists():
            began, waiting.seconds = time.monotonic(), 0.0
            own = open_reader(database, sandbox=kind != "browse") if kind != "kept" else contextlib.nullcontext(kept)
            with own as reader:
                count = ask(reader)
            answers.append((time.monotonic() - began, waiting.seconds, count))
            time.sleep(PAUSE)
    return answers


if __name__ == "__main__":
    print(json.dumps(poll(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))))
