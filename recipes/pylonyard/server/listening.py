"""Who listens on an address, as the kernel tells."""

import ipaddress
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pylonyard.server.errors import NOT_CONFIGURED, ServerError
from pylonyard.server.processes import PROC, pids

LISTEN = "0A"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Listener:
    """A socket that listens; ``inode`` names it."""

    address: Address
    port: int
    inode: int


def addresses(host: str) -> set[Address]:
    """Return what ``host`` stands for.

    :raises ServerError: if it stands for nothing
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ServerError(f"host {host}: {error.strerror}", NOT_CONFIGURED) from error
    return {plain(str(entry[4][0]).partition("%")[0]) for entry in found}


def plain(address: str) -> Address:
    """Return ``address``, as IPv4 where IPv6 only wraps it."""
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
    """Yield those of the kernel's lines that are of sockets which listen."""
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
    """Whether ``listener`` has, or keeps others from, ``wanted`` at ``port``."""
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
    """Return what ``candidates`` listen on."""
    opened = {name for pid in candidates for name in open_files(pid, proc)}
    return [one for one in listeners(proc) if f"socket:[{one.inode}]" in opened]


def holders(
    sockets: set[int], candidates: Iterable[int] | None = None, proc: Path = PROC
) -> list[int]:
    """Return the processes, of ``candidates``, that have one of ``sockets`` open.

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
