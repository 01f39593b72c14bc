"""Events and processes that the store's tests share."""

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.store.events import Event, read_event

ROOT = Path(__file__).resolve().parents[2]


def run_line(run_id: str, **columns: Any) -> dict[str, Any]:
    row = {"suite": "adamp", "scale": "mini", "status": "running", "started_at": "2026-01-02T03:04:05Z"}
    return {"kind": "run", "run": {"run_id": run_id, **row, **columns}}


def trial_row(trial_id: str, **columns: Any) -> dict[str, Any]:
    row = {
        "trial_id": trial_id,
        "spec_id": f"spec-{trial_id}",
        "fingerprint": "f",
        "suite": "adamp",
        "benchmark": "digits",
        "arm": "adamp",
        "seed": 0,
        "scale": "mini",
        "stand_in": ["data:real", "model"],
        "spec": {"model": "resnet8"},
    }
    return row | columns


def planned_line(run_id: str, *trial_ids: str, reused: bool = False, **columns: Any) -> dict[str, Any]:
    links = [{"trial_id": trial_id, "benchmark": "digits", "arm": "adamp", "reused": reused} for trial_id in trial_ids]
    trials = [trial_row(trial_id, **columns) for trial_id in trial_ids]
    return {"kind": "planned", "run_id": run_id, "trials": trials, "links": links}


def outcome_line(trial_id: str, status: str = "done", steps: int = 3, **parts: Any) -> dict[str, Any]:
    """An outcome with numbers from its name, so that a mix-up shows."""
    base = float(sum(trial_id.encode()))
    series = {
        "split": "train",
        "name": "loss",
        "step": list(range(steps)),
        "epoch": [step / 10 for step in range(steps)],
        "value": [base + step for step in range(steps)],
        "elapsed_seconds": [0.5 * step for step in range(steps)],
    }
    event = {
        "kind": "outcome",
        "run_id": "r",
        "trial_id": trial_id,
        "status": status,
        "attempts": 1,
        "wall_seconds": 1.5,
        "results": [{"split": "test", "metric": "top1-accuracy", "value": base}],
        "series": [series],
        "artifacts": [{"name": "weights", "kind": "weights", "path": f"{trial_id}.safetensors", "caption": None}],
    }
    return event | parts


def event_of(line: Mapping[str, Any]) -> Event:
    """The event whose parts in the event log these are."""
    return read_event({"v": 1, **line})


def run_event(run_id: str, **columns: Any) -> Event:
    return event_of(run_line(run_id, **columns))


def planned(run_id: str, *trial_ids: str, reused: bool = False, **columns: Any) -> Event:
    return event_of(planned_line(run_id, *trial_ids, reused=reused, **columns))


def outcome(trial_id: str, status: str = "done", steps: int = 3, **parts: Any) -> Event:
    return event_of(outcome_line(trial_id, status, steps, **parts))


def python(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """A process that runs ``code`` with this project on its path."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def dead_session(database: Path, run_id: str, *lines: Mapping[str, Any], torn: str = "") -> None:
    """A writer records events and half a line, ingests nothing and dies."""
    code = """
        import json, os, sys
        from harness.store import Writer
        from store_support import event_of
        writer = Writer(sys.argv[1], sys.argv[2], ingest_seconds=60).open()
        for line in json.loads(sys.argv[3]):
            writer.record(event_of(line))
        os.write(writer.journal._descriptor, sys.argv[4].encode())
        os._exit(9)
    """
    process = python(code, str(database), run_id, json.dumps(lines), torn)
    process.communicate()
    assert process.returncode == 9


HOLD = """
    import sys, duckdb
    connection = duckdb.connect(sys.argv[1], read_only=len(sys.argv) > 2)
    print("held", flush=True)
    sys.stdin.readline()
    connection.close()
    print("free", flush=True)
    sys.stdin.readline()
"""


class Holder:
    """A foreign process that holds a database until it is released."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def release(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "free\n"


@contextlib.contextmanager
def foreign_holder(database: Path) -> Iterator[Holder]:
    """A process that opened the file with DuckDB alone, without our locks."""
    process = python(HOLD, str(database))
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield Holder(process)
    finally:
        process.kill()
        process.communicate()
