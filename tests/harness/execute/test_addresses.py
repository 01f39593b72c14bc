"""Which clusters ``--address`` joins: nothing is sent to a public address, and nothing waits for one that is silent."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from harness.cli.group import run_main
from harness.errors import HarnessError
from harness.execute.executors.addresses import check_address


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Connections that were tried; each is taken and greeted as by a gRPC server, with an empty frame of settings."""
    made: list[Any] = []
    peers: list[socket.socket] = []

    def connect(where: Any, timeout: float) -> socket.socket:
        made.append(where)
        ours, theirs = socket.socketpair()
        theirs.sendall(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        peers.append(theirs)
        return ours

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    return made


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


def test_a_name_counts_by_what_it_stands_for(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"inside": ["10.1.2.3"], "outside": ["192.168.0.1", "9.9.9.9"]}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *_, **__: [(0, 0, 0, "", (address, 0)) for address in known[host]]
    )
    check_address("inside:6379")
    with pytest.raises(HarnessError, match=r"outside:6379: 9.9.9.9 is a public"):
        check_address("outside:6379")


@pytest.mark.parametrize(
    "address", ["auto", "127.0.0.1:6379", "10.0.0.7:6379", "192.168.1.1:1", "100.64.0.1:6379", "[::1]:1", "[fd00::1]:1"]
)
def test_an_address_of_ones_own_network_is_joined(address: str, calls: list[Any]) -> None:
    check_address(address)
    assert len(calls) == (address != "auto")


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:", ":6379", "head:six"])
def test_what_is_no_address_is_told(address: str, calls: list[Any]) -> None:
    with pytest.raises(HarnessError, match="--address"):
        check_address(address)
    assert calls == []


def test_the_command_ends_with_one_message(tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["run", str(tiny), "--db", str(database), "--address", "8.8.8.8:6379"]) == 2
    told = capsys.readouterr().err
    assert "8.8.8.8 is a public address" in told
    assert "Traceback" not in told
