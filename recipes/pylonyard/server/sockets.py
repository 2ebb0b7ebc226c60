"""Bind the sockets of a site, and hand them from one supervisor to the next."""

import errno
import fcntl
import os
import signal
import socket
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pylonyard.server.settings import Settings
from pylonyard.system.atomic import open_folder
from pylonyard.system.errors import NOT_CONFIGURED, ServerError
from pylonyard.system.listeners import open_files
from pylonyard.system.processes import PROC

BACKLOG = 1024
"""Connections that may wait while one server replaces another."""

FAMILIES = (socket.AF_INET, socket.AF_INET6)

Address = tuple[socket.AddressFamily, tuple[str, int]]


def addresses_of(settings: Settings) -> list[Address]:
    """Return each address of the site.

    :raises ServerError: if its host has no address
    """
    try:
        kind = socket.SOCK_STREAM
        found = socket.getaddrinfo(settings.host, settings.port, type=kind)
    except OSError as error:
        raise ServerError(f"host {settings.host}: {error.strerror}", NOT_CONFIGURED) from error
    return [
        (family, (str(address[0]), int(address[1])))
        for family, _, _, _, address in dict.fromkeys(found)
        if family in FAMILIES
    ]


def bind_all(settings: Settings) -> list[socket.socket]:
    """Return sockets bound to the addresses of the site; they do not listen yet.

    :raises ServerError: if none can be bound
    """
    wanted, sockets = addresses_of(settings), []
    for place in wanted:
        try:
            sockets.append(_bind_one(place, alone=len(wanted) == 1))
        except OSError as error:
            if place is not wanted[-1] or sockets:
                continue  # such as ::1 of localhost, on a machine without IPv6
            why = f"cannot listen on port {settings.port} of {settings.host}: {error.strerror}"
            raise ServerError(why) from error
    return sockets


def _bind_one(place: Address, *, alone: bool) -> socket.socket:
    family, address = place
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not alone:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        # Several processes accept from it; one that comes too late must not block.
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return one


def match_settings(sockets: Iterable[socket.socket], settings: Settings) -> bool:
    """Return whether ``sockets`` have the addresses of the site's current settings."""
    have = {(one.family, one.getsockname()[:2]) for one in sockets}
    return bool(have) and have <= set(addresses_of(settings))


def describe(sockets: Iterable[socket.socket]) -> Iterator[str]:
    """Yield each socket as PYLONYARD_SOCKETS has it: ``7/127.0.0.1/8080``."""
    for one in sockets:
        host, port = one.getsockname()[:2]
        yield f"{one.fileno()}/{host}/{port}"


def close(sockets: list[socket.socket]) -> None:
    """Close ``sockets`` in this process, and empty the list."""
    while sockets:
        sockets.pop().close()


def refuse_connections(sockets: Iterable[socket.socket]) -> None:
    """Stop listening, so that clients are refused at once; it can be started again."""
    for one in sockets:
        # Called twice, Linux reports ENOTCONN, and then closes each connection that is
        # accepted on this socket later.
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            one.shutdown(socket.SHUT_RDWR)


# The handover from one supervisor to the next.
#
# A new supervisor connects to a Unix socket in a private folder; its name is the old
# supervisor's pid. Supervisors of older releases, and those that can make no file, have an
# abstract socket, which is found among their open files.


HANDOVER_TIMEOUT = 10.0
"""Seconds to wait for a supervisor, which may be busy testing its server."""

REQUEST_SIGNAL = signal.SIGIO
"""Tells a supervisor that a client has connected."""

MOST_SOCKETS = 16

MOST_CLIENTS = 64
"""Clients served in one go: another account may connect in a loop."""

SO_ACCEPTCON_FLAG = 0x10000
"""The flag of a Unix socket that listens, as /proc/net/unix shows it."""


class SocketHandover:
    """A Unix socket at which our own account gets the site's sockets.

    It is made in ``folder``, where no other account can reach it: connecting in a loop would
    fill its backlog, so that the next supervisor is turned away. Where no file can be made,
    the socket is an abstract one.
    """

    def __init__(self, sockets: list[socket.socket], folder: Path | None = None) -> None:
        self.sockets = sockets
        self.was_taken = False
        """True if another process may have got the sockets."""
        self.folder = folder
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with private_folder(folder, make=True) as place:
                _remove_stale(place)
                self.listener.bind(_socket_path(place, os.getpid()))
        except OSError:  # a full disk, say
            self.listener.bind("")
        self.listener.listen()
        fcntl.fcntl(self.listener, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self.listener, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)

    def serve_requests(self) -> None:
        """Send the sockets to each client of our own account, to MOST_CLIENTS at most."""
        for _ in range(MOST_CLIENTS):
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, suppress(OSError):
                if peer_credentials(client)[1] == os.getuid():
                    numbers = [one.fileno() for one in self.sockets]
                    self.was_taken = self.was_taken or bool(numbers)
                    socket.send_fds(client, [b"."], numbers)
        # Serve the others after the rest of the supervisor's work.
        os.kill(os.getpid(), REQUEST_SIGNAL)

    def close(self) -> None:
        """Close the socket, and remove its file."""
        self.listener.close()
        with suppress(OSError), private_folder(self.folder) as place:
            os.unlink(str(os.getpid()), dir_fd=place)


def receive_from(supervisor: int, folder: Path | None = None) -> list[socket.socket]:
    """Return the sockets of ``supervisor``; none if it does not hand them over.

    :param folder: where it may have made its Unix socket; a supervisor of an older
        release has an abstract one
    """
    with suppress(OSError), private_folder(folder) as place:
        if found := _request_sockets(_socket_path(place, supervisor), supervisor):
            return found
    return next(
        filter(None, (_request_sockets(name, supervisor) for name in abstract_sockets(supervisor))),
        [],
    )


def _request_sockets(name: str, supervisor: int) -> list[socket.socket]:
    """Return the sockets that ``supervisor`` hands over at the Unix socket ``name``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door, suppress(OSError):
        door.settimeout(HANDOVER_TIMEOUT)
        _connect(door, name)
        if peer_credentials(door) == (supervisor, os.getuid()):
            _, numbers, _, _ = socket.recv_fds(door, 1, MOST_SOCKETS)
            for number in numbers:
                os.set_inheritable(number, False)
            return [socket.socket(fileno=number) for number in numbers]
    return []


def _connect(door: socket.socket, name: str) -> None:
    """Connect; try again while the backlog is full, since the kernel does not wait.

    :raises OSError: if that fails for ``HANDOVER_TIMEOUT`` seconds
    """
    deadline = time.monotonic() + HANDOVER_TIMEOUT
    while True:
        try:
            return door.connect(name)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


@contextmanager
def private_folder(folder: Path | None, *, make: bool = False) -> Iterator[int]:
    """Open a folder that our account alone can enter; yield its descriptor.

    :param make: make the folder if it is missing
    :raises OSError: if it is missing, or others can enter it
    """
    if folder is None:
        raise FileNotFoundError(errno.ENOENT, "no folder")
    if make:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    place = open_folder(folder)
    try:
        status = os.fstat(place)
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise PermissionError(errno.EACCES, "others can enter", str(folder))
        yield place
    finally:
        os.close(place)


def _socket_path(place: int, pid: int) -> str:
    """Return the path of the Unix socket of ``pid``, short enough in any folder."""
    return f"/proc/self/fd/{place}/{pid}"


def _remove_stale(place: int) -> None:
    """Remove the Unix sockets of processes that have ended, and one of our own pid."""
    for name in os.listdir(place):
        is_over = name == str(os.getpid()) or not (PROC / name).exists()
        if name.isdigit() and is_over and stat.S_ISSOCK(os.lstat(name, dir_fd=place).st_mode):
            os.unlink(name, dir_fd=place)


def abstract_sockets(pid: int, proc: Path = PROC) -> Iterator[str]:
    """Yield the names of the abstract Unix sockets that ``pid`` listens on."""
    opened = open_files(pid, proc)
    for line in (proc / "net" / "unix").read_text(errors="replace").splitlines()[1:]:
        fields = line.split()
        is_ours = len(fields) == 8 and f"socket:[{fields[6]}]" in opened
        if is_ours and int(fields[3], 16) & SO_ACCEPTCON_FLAG and fields[7].startswith("@"):
            yield "\0" + fields[7][1:]


def peer_credentials(one: socket.socket) -> tuple[int, int]:
    """Return the pid and the account number of the peer."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid
