"""``python -m …`` in a fork of a process with imported libraries.

A fresh interpreter spends most of a short command on importing torch. Here one process imports the libraries, nothing
of the harness, and forks for every command: it has the command's folder, environment and output, and ends by itself.
Tests about processes (kills, signals, several at once), about how a command starts and about what an interpreter draws
for itself (the order of sets of names) use fresh ones.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

LIBRARIES = ("torch", "torch._dynamo", "torch._inductor", "torchvision", "pandas", "scipy.stats", "duckdb", "pydantic")
LARGEST = 1 << 20  # bytes of a message


def call(
    arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """The output of ``python -m ARGUMENTS``, run in ``cwd``.

    Raises:
        subprocess.TimeoutExpired: it took longer than ``timeout`` seconds; it is killed.
    """
    if sys.platform != "linux":  # elsewhere a process that has loaded its libraries is not safely forked
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
    connection = _server()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment)})
        socket.send_fds(connection, [request.encode()], [out.fileno(), err.fileno()])
        process = int(connection.recv(LARGEST))
        connection.settimeout(timeout)
        try:
            code = int(connection.recv(LARGEST))
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            connection.settimeout(None)
            connection.recv(LARGEST)
            raise subprocess.TimeoutExpired(list(arguments), timeout or 0.0) from None
        finally:
            connection.settimeout(None)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(list(arguments), code, *texts)


@cache
def _server() -> socket.socket:
    """The connection to this process's server; the server ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", str(Path(__file__)), str(theirs.fileno())]
    subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
    theirs.close()
    return ours


def serve(connection: socket.socket) -> dict[str, object]:
    """Fork for every request; returns in the child, with the request."""
    for library in LIBRARIES:
        import_module(library)
    gc.freeze()
    while True:
        request, files, _, _ = socket.recv_fds(connection, LARGEST, 2)
        if not request:
            sys.exit()
        child = os.fork()
        if child == 0:
            for file, number in zip(files, (1, 2), strict=True):
                os.dup2(file, number)
                os.close(file)
            connection.close()
            result: dict[str, object] = json.loads(request)
            return result
        for file in files:
            os.close(file)
        connection.send(str(child).encode())
        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def become(arguments: list[str], cwd: str, environment: dict[str, str]) -> int:
    """Be ``python -m ARGUMENTS``; returns its exit code."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[:0] = [cwd, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = arguments
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def leave(code: int) -> None:
    """End as an interpreter does, without freeing the libraries' memory (two seconds)."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(become(**serve(socket.socket(fileno=int(sys.argv[1])))))  # type: ignore[arg-type]
