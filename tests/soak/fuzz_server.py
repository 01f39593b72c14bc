"""One process that has imported everything and forks for each example, so that none leaves a trace in the next.

An example has a folder, an environment, limits of its own; what it used is measured by the kernel.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ADDRESS_SPACE = 16 << 30
LARGEST_FILE = 1 << 30
SHOWN = 4000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an example: exit code (None: killed as hung), output, error output, and what it used."""

    code: int | None
    out: str
    err: str
    seconds: float
    megabytes: float
    signal: int = 0


class Server:
    """The process; ``ask`` waits for one example."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, str(Path(__file__))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def ask(self, kind: str, folder: Path, given: Any, environment: Mapping[str, str], seconds: float) -> Answer:
        """Run an example of a kind of ``KINDS`` in a folder; one that takes longer is killed."""
        request = {
            "kind": kind,
            "folder": os.fsencode(folder).hex(),
            "given": given,
            "environment": dict(environment),
            "seconds": seconds,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the server has ended"
        return Answer(**json.loads(line))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def a_command(arguments: Sequence[str]) -> int:
    """A command line in this process."""
    from harness.cli.group import run_main
    from harness.results import serve

    serve.browse = lambda *given: None  # it would serve until it is interrupted
    return run_main(arguments)


def a_layout(given: Mapping[str, Any]) -> int:
    """A data source reads a folder; only our own error may come of it."""
    from harness import registry
    from harness.cli.streams import visible
    from harness.data.locate import data_identity
    from harness.data.roots import data_root
    from harness.errors import HarnessError
    from harness.trial.contracts import DataRequest
    from harness.trial.options import build
    from harness.trial.seeds import Streams

    name, values = given["name"], given["values"]
    try:
        files = data_identity(name, values)["sha256"]
        source = registry.load("data", name)
        source.target(DataRequest(build(source.options, values), data_root(), Streams(0), name, files))
    except HarnessError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        return 2
    return 0


def weights(given: Mapping[str, Any]) -> int:
    """Both readers of weights: one of a user's file, which has to say its place, and one of published files."""
    from harness.cli.streams import visible
    from harness.errors import HarnessError
    from harness.trial.saved import load_product
    from suites.models.fine_tuned import read_weights

    path = Path(given["path"])
    with contextlib.suppress(Exception):  # inside a trial: an outcome
        load_product(path)
    try:
        read_weights(path)
    except HarnessError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        return 2
    return 0


KINDS: dict[str, Callable[[Any], int]] = {"command": a_command, "layout": a_layout, "weights": weights}


def _in_the_child(request: Mapping[str, Any], folder: Path) -> int:
    os.setsid()
    os.environ.update(request["environment"])
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.stdin = io.StringIO("SELECT 1")
    try:
        return KINDS[request["kind"]](request["given"])
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1


def _run(request: Mapping[str, Any]) -> Answer:
    folder = Path(os.fsdecode(bytes.fromhex(request["folder"])))
    out, err = folder.parent / "out.txt", folder.parent / "err.txt"
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - of this process for good
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        code = 1
        with contextlib.suppress(BaseException):
            code = _in_the_child(request, folder)
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 255)
    descriptor = os.pidfd_open(child)
    ended, _, _ = select.select([descriptor], [], [], request["seconds"])
    os.close(descriptor)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    said = [_tail(path) for path in (out, err)]
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) and ended else None
    died = os.WTERMSIG(status) if os.WIFSIGNALED(status) and ended else 0
    return Answer(code, *said, time.monotonic() - began, used.ru_maxrss / 1024, died)


def _tail(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    return (
        content[-SHOWN:].decode(errors="replace") if len(content) <= 64 * SHOWN else f"{len(content)} bytes of output"
    )


def main() -> None:
    """Answer requests until there are no more."""
    # What examples use is imported before the first fork; nothing is computed, so that no thread is begun.
    import duckdb  # noqa: F401
    import pandas  # noqa: F401
    import plotly.graph_objects  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import rich.console  # noqa: F401
    import safetensors.torch  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch
    import torch._dynamo
    import torch._inductor
    import torchvision  # noqa: F401
    import yaml  # noqa: F401

    from harness.cli.group import COMMANDS, harness

    torch.set_num_threads(1)
    for name in COMMANDS:
        harness.get_command(None, name)  # type: ignore[arg-type]
    import harness.imports.table_verdicts
    import harness.judge.stored
    import harness.plan.planning
    import harness.results.reporting
    import harness.suite

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        answer = _run(json.loads(line))
        answers.write(json.dumps({name: getattr(answer, name) for name in Answer.__slots__}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
