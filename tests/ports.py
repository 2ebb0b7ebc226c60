"""Ports of 127.0.0.1 for the servers of tests; each worker has its own."""

import contextlib
import os
import secrets
import socket
from pathlib import Path

FIRST = 10_000
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens on, and that was not returned before.

    Not one of those that Linux gives to connections (ip(7), ``ip_local_port_range``) and
    to who asks for any: by the time that the server starts, it may be taken.
    """
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = FIRST + secrets.randbelow(end - FIRST)
        if port % WORKERS != WORKER or port in _given:
            continue
        _given.add(port)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
