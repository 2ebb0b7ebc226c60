"""Whether a server answers HTTP."""

import http.client
import io
import ipaddress
import socket
import time
from collections.abc import Mapping
from typing import Any


def reachable(host: str) -> str:
    """Return the address to ask for a server that listens on ``host``."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def answers(host: str, port: int, path: str, timeout: float) -> bool:
    """Whether ``GET path`` is answered within ``timeout`` seconds, by any status."""
    return status(host, port, path, timeout) is not None


def status(host: str, port: int, path: str, timeout: float, name: str = "") -> int | None:
    """Return the status that answers ``GET path`` within ``timeout`` seconds, if any.

    :param name: what to call the server, with its port; default: by its address
    """
    connection = http.client.HTTPConnection(reachable(host), port, timeout=timeout)
    headers = {"Connection": "close", **({"Host": name} if name else {})}
    try:
        return asked(connection, path, headers, timeout)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def asked(
    connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str], timeout: float
) -> int:
    """Return the status that answers ``GET path`` within ``timeout`` seconds in all.

    :raises OSError: if it takes longer
    :raises http.client.HTTPException: if it is no answer
    """
    deadline = time.monotonic() + timeout
    connection.request("GET", path, headers=headers)
    answer = http.client.HTTPResponse(connection.sock, method="GET")
    answer.fp.close()
    answer.fp = io.BufferedReader(_Said(connection.sock, deadline))
    with answer:
        answer.begin()
        return answer.status


class _Said(io.RawIOBase):
    """What a socket says until ``deadline``.

    Its own timeout begins anew with each byte: who sends one now and then would be
    waited for without end.
    """

    def __init__(self, said_by: socket.socket, deadline: float) -> None:
        self._socket = said_by
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._socket.recv_into(buffer)
