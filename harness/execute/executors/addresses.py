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
        HarnessError: a Ray client address; no HOST:PORT; a public address without TLS; nothing answers within five
            seconds (Ray itself would wait for a minute and more).
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
        socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise HarnessError(
            f"--address {address}: nothing answers there ({error}); 'ray start --head' starts one"
        ) from error


def _public(host: str) -> str:
    """The first address of a host that anybody may reach, or nothing; a name that nobody knows has none."""
    with contextlib.suppress(OSError, UnicodeError):
        for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            with contextlib.suppress(ValueError):
                if ipaddress.ip_address(str(found[4][0]).partition("%")[0]).is_global:
                    return str(found[4][0])
    return ""
