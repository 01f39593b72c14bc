"""Check of ``--address``: a cluster on a private network that answers."""

import contextlib
import ipaddress
import os
import socket

from harness.errors import HarnessError

PATIENCE_SECONDS = 5
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""Preface and empty settings of HTTP/2 (RFC 9113, 3.4); a gRPC server answers with a frame of settings."""


def check_address(address: str) -> None:
    """Refuse an address without a Ray cluster, or on a public network.

    Raises:
        HarnessError: a Ray client address; not HOST:PORT; a public address without TLS; no gRPC server answers within
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
    host, encrypted = host.strip("[]"), os.environ.get("RAY_USE_TLS", "0") == "1"
    if (public := _public(host)) and not encrypted:
        raise HarnessError(
            f"--address {address}: {public} is a public address, and others could read Ray's traffic, its token too; "
            f"join it over a private network, or set up Ray's TLS on every node (RAY_USE_TLS=1)"
        )
    try:
        with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
            answer = _greeting(connection)
    except (OSError, OverflowError, UnicodeError) as error:
        raise HarnessError(
            f"--address {address}: nothing answers there ({error}); 'ray start --head' starts one"
        ) from error
    if answer[3:4] != _SETTINGS[3:4] and not encrypted:
        raise HarnessError(f"--address {address}: the server there is not Ray's control store (its port is 6379)")


def _greeting(connection: socket.socket) -> bytes:
    with contextlib.suppress(TimeoutError):
        connection.sendall(_PREFACE + _SETTINGS)
        return connection.recv(len(_SETTINGS))
    return b""


def _public(host: str) -> str:
    """The first public address of a host; empty where it has none or cannot be resolved."""
    with contextlib.suppress(OSError, UnicodeError):
        for *_, where in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            with contextlib.suppress(ValueError):
                if ipaddress.ip_address(str(where[0]).partition("%")[0]).is_global:
                    return str(where[0])
    return ""
