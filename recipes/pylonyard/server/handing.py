"""From one supervisor to the next: the sockets of a site, over one without a file.

The kernel names that socket, so that nobody can take the name beforehand or leave it
behind; who wants it finds it among the open files of the supervisor.
"""

import fcntl
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pylonyard.server.listening import open_files
from pylonyard.server.processes import PROC

PATIENCE = 10.0
"""Seconds to wait for a supervisor, which may be asking its server something."""

SIGNAL = signal.SIGIO
"""Tells a supervisor that somebody asks."""

MOST = 16
ACCEPTS = 0x10000
"""The flag of a Unix socket that listens, as /proc/net/unix shows it."""


class Offer:
    """What our own account may take of us."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.sockets = sockets
        self.taken = False
        """Whether another process may have the sockets."""
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.door.bind("")
        self.door.listen()
        fcntl.fcntl(self.door, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self.door, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)

    def hand_out(self) -> None:
        """Give the sockets to whoever asks, and may."""
        while True:
            try:
                visitor, _ = self.door.accept()
            except OSError:
                return
            with visitor, suppress(OSError):
                if credentials(visitor)[1] == os.getuid():
                    numbers = [one.fileno() for one in self.sockets]
                    self.taken = self.taken or bool(numbers)
                    socket.send_fds(visitor, [b"."], numbers)


def received(supervisor: int) -> list[socket.socket]:
    """Return the sockets of ``supervisor``; none if it does not hand out any."""
    for name in doors(supervisor):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door, suppress(OSError):
            door.settimeout(PATIENCE)
            door.connect(name)
            if credentials(door) == (supervisor, os.getuid()):
                _, numbers, _, _ = socket.recv_fds(door, 1, MOST)
                for number in numbers:
                    os.set_inheritable(number, False)
                return [socket.socket(fileno=number) for number in numbers]
    return []


def doors(pid: int, proc: Path = PROC) -> Iterator[str]:
    """Yield the names of the sockets without files that ``pid`` listens on."""
    opened = open_files(pid, proc)
    for line in (proc / "net" / "unix").read_text(errors="replace").splitlines()[1:]:
        fields = line.split()
        is_ours = len(fields) == 8 and f"socket:[{fields[6]}]" in opened
        if is_ours and int(fields[3], 16) & ACCEPTS and fields[7].startswith("@"):
            yield "\0" + fields[7][1:]


def credentials(one: socket.socket) -> tuple[int, int]:
    """Return process and account at the other end."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid
