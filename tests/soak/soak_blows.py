"""Blows at processes: the command alone, its group, one of Ray's, or all of them stopped for a while."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import psutil
from soak_runs import Started

BLOWS = ("command", "group", "group", "stopped", "worker", "raylet", "gcs_server")
INLINE = BLOWS[:4]


def of_kind(process: Started, kind: str) -> list[psutil.Process]:
    """Processes of a run: Ray's workers, or those of one program."""
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(process.pid).children(recursive=True)
        return [one for one in found if _name(one).startswith("ray::" if kind == "worker" else kind)]
    return []


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        line = process.cmdline()
        return Path(line[0].split()[0]).name if line and line[0] else process.name()
    return ""


def strike(process: Started, blow: str, chance: random.Random, pause: float | None = None) -> bool:
    """One blow; whether there was something to hit. ``pause``: seconds of being stopped (drawn, up to three)."""
    if process.poll() is not None:
        return False
    if blow == "group":
        process.end()
    elif blow == "command":
        process.kill()
        process.wait()
    elif blow == "stopped":
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(chance.uniform(0.3, 3) if pause is None else pause)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
    else:
        victims = of_kind(process, blow)
        if not victims:
            return False
        with contextlib.suppress(psutil.Error):
            chance.choice(victims).kill()
    return True
