"""``--address``: what does not answer as Ray does is refused within seconds; Ray itself would wait for minutes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from harness.errors import HarnessError
from harness.execute.executors.addresses import check_address


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """An address at which connections are answered so."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()


OTHERS: dict[str, Callable[[socket.socket], object]] = {
    "a web server": lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "one that says nothing": lambda connection: connection.recv(1),
    "one that hangs up": lambda connection: None,
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("other", OTHERS)
def test_another_program_is_refused(other: str) -> None:
    with listening(OTHERS[other]) as address, pytest.raises(HarnessError, match="is not Ray's control store"):
        check_address(address)


def test_what_speaks_grpc_is_let_through() -> None:
    with listening(lambda connection: connection.sendall(bytes((0, 0, 18, 4, 0, 0, 0, 0, 0)) + bytes(18))) as address:
        check_address(address)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "address", ["nowhere", "127.0.0.1:", ":1", "127.0.0.1:1", "127.0.0.1:99999", "[::1]:x", "\udcff:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(HarnessError, match="--address"):
        check_address(address)
