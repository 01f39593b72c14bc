"""What ``--address`` may name: a cluster that answers, on a network of one's own."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket

from harness.errors import HarnessError

PATIENCE_SECONDS = 5


def check_address(address: str) -> None:
    """Refuse an address that is no cluster's, or one at which Ray would have to travel over an open network.

    Raises:
        HarnessError: a Ray client address; no HOST:PORT; a public address without TLS; no gRPC server answers within
            five seconds (Ray itself would wait for minutes).
    """
    if address.startswith("ray://"):
        raise HarnessError(
            f"--address {address}: Ray client addresses are not supported; submit the run to the cluster with "
            f"'ray job submit -- harness run …'"
        )
    if address in ("auto", "local"):
        return
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit()):
        raise HarnessError(f"--address {address}: 'auto' or HOST:PORT is expected, as in head:6379")
    host = host.strip("[]")
    if (public := _public(host)) and os.environ.get("RAY_USE_TLS") != "1":
        raise HarnessError(
            f"--address {address}: {public} is a public address, and what Ray sends, its token too, could be read on "
            f"the way; join it over a private network, or set up Ray's TLS on every node (RAY_USE_TLS=1)"
        )
    try:
        with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
            heard = _greeting(connection)
    except (OSError, OverflowError, UnicodeError) as error:
        raise HarnessError(
            f"--address {address}: nothing answers there ({error}); 'ray start --head' starts one"
        ) from error
    if os.environ.get("RAY_USE_TLS", "0") == "0" and heard[3:4] != _SETTINGS[3:4]:
        raise HarnessError(f"--address {address}: what listens there is not Ray's control store (its port is 6379)")


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


def _greeting(connection: socket.socket) -> bytes:
    """The first bytes of the answer to the preface of HTTP/2 (RFC 9113, 3.4): of a gRPC server a frame of settings."""
    connection.settimeout(PATIENCE_SECONDS)
    try:
        connection.sendall(_PREFACE + _SETTINGS)
        return connection.recv(len(_SETTINGS))
    except TimeoutError:
        return b""


def _public(host: str) -> str:
    """The first address of a host that anybody may reach, or nothing; a name that nobody knows has none."""
    with contextlib.suppress(OSError, UnicodeError):
        for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            with contextlib.suppress(ValueError):
                if ipaddress.ip_address(str(found[4][0]).partition("%")[0]).is_global:
                    return str(found[4][0])
    return ""
