"""For a training script of yours: ``from harness.client import log``; one file, no dependency, free to copy.

    log(step=100, loss=0.31)                            # while it trains
    log(step=100, split="validation", accuracy=83.1)
    log(accuracy=84.0)                                  # what it reached

Run by ``harness``, each call is a line of the file that ``HARNESS_RESULTS`` names, and progress shows while the script
runs. Run alone, the line goes to standard output instead. ``folder()`` is where to write (it survives a restart),
``seed()`` what to seed with, ``resuming()`` whether an earlier attempt left something there. For a script that sets no
seed, ``python -m harness.client SCRIPT ARGUMENTS…`` seeds Python, NumPy and torch, where there are, and runs it.
"""

from __future__ import annotations  # a copy may run in an older Python

import json
import os
import runpy
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def log(*, step: int | None = None, epoch: float | None = None, split: str | None = None, **numbers: float) -> None:
    """Log numbers of a step, or without one the final numbers of the training."""
    line: dict[str, float | str] = {"time": round(time.time(), 3)}
    line |= {key: value for key, value in (("step", step), ("epoch", epoch), ("split", split)) if value is not None}
    line |= {name: float(value) for name, value in numbers.items()}
    text = json.dumps(line) + "\n"
    target = os.environ.get("HARNESS_RESULTS")
    if target:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(text)  # one write a line: processes of one training may share the file
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


def seed(default: int = 0) -> int:
    """The trial's seed."""
    return int(os.environ.get("HARNESS_SEED", default))


def folder(default: str | Path = ".") -> Path:
    """The trial's folder; its content survives a restart."""
    return Path(os.environ.get("HARNESS_FOLDER", default))


def resuming() -> bool:
    """True if an interrupted attempt left files in the folder."""
    return os.environ.get("HARNESS_RESUME") == "1"


def seed_everything(number: int) -> None:
    """Seed Python's, NumPy's and torch's global generators, where they are installed."""
    import random

    random.seed(number)
    if find_spec("numpy") is not None:
        import_module("numpy").random.seed(number % 2**32)
    if find_spec("torch") is not None:
        import_module("torch").manual_seed(number)


def _main() -> None:
    if len(sys.argv) < 2:
        sys.exit("python -m harness.client SCRIPT ARGUMENTS…: seed everything with HARNESS_SEED, then run the script")
    script = sys.argv[1]
    seed_everything(seed())
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(script).resolve().parent)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    _main()
