"""Find the sockets that listen on an address, by /proc, and whether they answer HTTP."""

import http.client
import io
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.system.errors import NOT_CONFIGURED, ServerError
from pylonyard.system.processes import PROC, pids

LISTEN = "0A"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Listener:
    """A socket that listens; ``inode`` names it."""

    address: Address
    port: int
    inode: int


def addresses(host: str) -> set[Address]:
    """Return the addresses of ``host``.

    :raises ServerError: if it has no address
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ServerError(f"host {host}: {error.strerror}", NOT_CONFIGURED) from error
    return {plain(str(entry[4][0]).partition("%")[0]) for entry in found}


def plain(address: str) -> Address:
    """Return ``address``; as IPv4 if it is an IPv4 address mapped to IPv6."""
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else parsed


def listeners(proc: Path = PROC) -> Iterator[Listener]:
    """Yield every listening TCP socket."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except FileNotFoundError:
            continue  # a kernel without IPv6
        yield from parsed(lines)


def parsed(lines: Iterable[str]) -> Iterator[Listener]:
    """Yield the listening sockets in lines of the kernel."""
    for line in lines:
        fields = line.split()
        if fields[3] == LISTEN:
            address, _, port = fields[1].partition(":")
            yield Listener(decode(address), int(port, 16), int(fields[9]))


def decode(digits: str) -> Address:
    """Return an address that the kernel wrote as words in its own byte order."""
    words = [int(digits[i : i + 8], 16) for i in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return plain(str(ipaddress.ip_address(packed)))


def overlaps(listener: Listener, wanted: set[Address], port: int) -> bool:
    """Return whether ``listener`` has, or keeps others from, ``wanted`` at ``port``."""
    everywhere = listener.address.is_unspecified or any(
        address.is_unspecified for address in wanted
    )
    return listener.port == port and (everywhere or listener.address in wanted)


def inodes(host: str, port: int, proc: Path = PROC) -> set[int]:
    """Return the sockets that listen on ``host`` and ``port``."""
    return at(listeners(proc), host, port)


def at(found: Iterable[Listener], host: str, port: int) -> set[int]:
    """Return the sockets of those that listen on ``host`` and ``port``."""
    wanted = addresses(host)
    return {listener.inode for listener in found if overlaps(listener, wanted, port)}


def of_processes(candidates: Iterable[int], proc: Path = PROC) -> list[Listener]:
    """Return the addresses on which ``candidates`` listen."""
    opened = {name for pid in candidates for name in open_files(pid, proc)}
    return [one for one in listeners(proc) if f"socket:[{one.inode}]" in opened]


def holders(
    sockets: set[int], candidates: Iterable[int] | None = None, proc: Path = PROC
) -> list[int]:
    """Return the processes among ``candidates`` that have one of ``sockets`` open.

    Those of other users are not seen, unless by root.
    """
    links = {f"socket:[{inode}]" for inode in sockets}
    looked_at = pids(proc) if candidates is None else candidates
    return [pid for pid in looked_at if links & open_files(pid, proc)]


def open_files(pid: int, proc: Path = PROC) -> set[str]:
    directory, found = proc / str(pid) / "fd", set()
    try:
        for entry in os.listdir(directory):
            found.add(os.readlink(directory / entry))
    except OSError:
        pass  # it ended, or belongs to another user
    return found


# Whether a server answers HTTP.


def reachable(host: str) -> str:
    """Return the address at which a server that listens on ``host`` can be reached."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def answers(host: str, port: int, path: str, timeout: float) -> bool:
    """Return whether ``GET path`` is answered within ``timeout`` seconds, by any status."""
    return status(host, port, path, timeout) is not None


def status(host: str, port: int, path: str, timeout: float, name: str = "") -> int | None:
    """Return the status that answers ``GET path`` within ``timeout`` seconds, if any.

    :param name: what to call the server, with its port; default: by its address
    """
    connection = http.client.HTTPConnection(reachable(host), port, timeout=timeout)
    headers = {"Connection": "close", **({"Host": name} if name else {})}
    try:
        return request_status(connection, path, headers, timeout)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def request_status(
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
    answer.fp = io.BufferedReader(_TimedReader(connection.sock, deadline))
    with answer:
        answer.begin()
        return answer.status


class _TimedReader(io.RawIOBase):
    """Read from a socket until ``deadline``.

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
