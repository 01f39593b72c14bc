"""Clusters that ``--address`` joins: private ones that answer as Ray does."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli.group import run_main
from harness.errors import HarnessError
from harness.execute.executors.addresses import check_address


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Attempted connections; each is answered as by a gRPC server, with an empty frame of settings."""
    attempts: list[Any] = []
    peers: list[socket.socket] = []

    def connect(where: Any, timeout: float) -> socket.socket:
        attempts.append(where)
        ours, theirs = socket.socketpair()
        theirs.sendall(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        peers.append(theirs)
        return ours

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    return attempts


@pytest.mark.parametrize("address", ["8.8.8.8:6379", "[2606:4700:4700::1111]:6379"])
def test_a_public_address_is_refused_before_anything_is_sent(
    address: str, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HarnessError, match=r"is a public address.*RAY_USE_TLS=1"):
        check_address(address)
    assert calls == []
    monkeypatch.setenv("RAY_USE_TLS", "1")
    check_address(address)
    assert len(calls) == 1


def test_a_name_counts_by_its_addresses(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = {"inside": ["10.1.2.3"], "outside": ["192.168.0.1", "9.9.9.9"]}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *_, **__: [(0, 0, 0, "", (address, 0)) for address in hosts[host]]
    )
    check_address("inside:6379")
    with pytest.raises(HarnessError, match=r"outside:6379: 9.9.9.9 is a public"):
        check_address("outside:6379")


@pytest.mark.parametrize(
    "address", ["auto", "127.0.0.1:6379", "10.0.0.7:6379", "192.168.1.1:1", "100.64.0.1:6379", "[::1]:1", "[fd00::1]:1"]
)
def test_a_private_address_is_joined(address: str, calls: list[Any]) -> None:
    check_address(address)
    assert len(calls) == (address != "auto")


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:", ":6379", "head:six", "[::1]:x"])
def test_another_form_is_refused(address: str, calls: list[Any]) -> None:
    with pytest.raises(HarnessError, match="--address"):
        check_address(address)
    assert calls == []


def test_the_command_ends_with_one_message(tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["run", str(tiny), "--db", str(database), "--address", "8.8.8.8:6379"]) == 2
    error = capsys.readouterr().err
    assert "8.8.8.8 is a public address" in error
    assert "Traceback" not in error


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """An address whose connections get this answer."""
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
    "a silent server": lambda connection: connection.recv(1),
    "a server that hangs up": lambda connection: None,
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("other", OTHERS)
def test_another_program_is_refused(other: str) -> None:
    with listening(OTHERS[other]) as address, pytest.raises(HarnessError, match="is not Ray's control store"):
        check_address(address)


def test_a_grpc_server_is_accepted() -> None:
    with listening(lambda connection: connection.sendall(bytes((0, 0, 18, 4, 0, 0, 0, 0, 0)) + bytes(18))) as address:
        check_address(address)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "\udcff:1"])
def test_a_silent_address_is_refused(address: str) -> None:
    with pytest.raises(HarnessError, match="--address"):
        check_address(address)
