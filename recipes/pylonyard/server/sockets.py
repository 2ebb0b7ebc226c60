"""The sockets of a site: bound before its server is there, and handed to the next supervisor."""

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
from pylonyard.system.errors import NOT_CONFIGURED, ServerError
from pylonyard.system.listeners import open_files
from pylonyard.system.processes import PROC

BACKLOG = 1024
"""Connections that may wait, while one server takes the place of another."""

FAMILIES = (socket.AF_INET, socket.AF_INET6)

Place = tuple[socket.AddressFamily, tuple[str, int]]


def places(settings: Settings) -> list[Place]:
    """Return each address of the site.

    :raises ServerError: if its host stands for none
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


def bound(settings: Settings) -> list[socket.socket]:
    """Return sockets with the addresses of the site, which do not listen yet.

    :raises ServerError: if an address cannot be had
    """
    wanted, sockets = places(settings), []
    for place in wanted:
        try:
            sockets.append(_bound(place, alone=len(wanted) == 1))
        except OSError as error:
            if place is not wanted[-1] or sockets:
                continue  # such as ::1 of localhost, on a machine without IPv6
            why = f"cannot listen on port {settings.port} of {settings.host}: {error.strerror}"
            raise ServerError(why) from error
    return sockets


def _bound(place: Place, *, alone: bool) -> socket.socket:
    family, address = place
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not alone:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        # Several processes look at it, and one that comes too late must not wait.
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return one


def fit(sockets: Iterable[socket.socket], settings: Settings) -> bool:
    """Whether ``sockets`` are those of the site as it is to be served now."""
    have = {(one.family, one.getsockname()[:2]) for one in sockets}
    return bool(have) and have <= set(places(settings))


def described(sockets: Iterable[socket.socket]) -> Iterator[str]:
    """Yield what a server is told of each of ``sockets``: ``7/127.0.0.1/8080``."""
    for one in sockets:
        host, port = one.getsockname()[:2]
        yield f"{one.fileno()}/{host}/{port}"


def close(sockets: list[socket.socket]) -> None:
    """Close ``sockets``, in this process, and forget them."""
    while sockets:
        sockets.pop().close()


def refuse(sockets: Iterable[socket.socket]) -> None:
    """Let nobody wait for an answer; they can be listened on again."""
    for one in sockets:
        # A second time, Linux says ENOTCONN, and yet closes each connection that is
        # accepted on this socket ever after.
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            one.shutdown(socket.SHUT_RDWR)


# From one supervisor to the next: the sockets of a site.
#
# They are asked for at a Unix socket in a folder of the account's own, named by the
# supervisor's number. Supervisors of older releases, and those that can make no file, have
# one without a file: the kernel names that, and it is found among their open files.


PATIENCE = 10.0
"""Seconds to wait for a supervisor, which may be asking its server something."""

SIGNAL = signal.SIGIO
"""Tells a supervisor that somebody asks."""

MOST = 16

MOST_VISITORS = 64
"""How many are looked at in one go: another account may connect in a loop."""

ACCEPTS = 0x10000
"""The flag of a Unix socket that listens, as /proc/net/unix shows it."""


class Offer:
    """What our own account may take of us.

    ``folder`` is where the socket is made, so that no other account can reach it: loops
    of another's that connect to a socket without a file fill its backlog, and whoever may
    have our sockets is turned away. Where no file can be made, it has none.
    """

    def __init__(self, sockets: list[socket.socket], folder: Path | None = None) -> None:
        self.sockets = sockets
        self.taken = False
        """Whether another process may have the sockets."""
        self.folder = folder
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with opened(folder, make=True) as place:
                forget_ended(place)
                self.door.bind(path_in(place, os.getpid()))
        except OSError:  # a full disk, say
            self.door.bind("")
        self.door.listen()
        fcntl.fcntl(self.door, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self.door, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)

    def hand_out(self) -> None:
        """Give the sockets to whoever asks, and may; look at no more than MOST_VISITORS."""
        for _ in range(MOST_VISITORS):
            try:
                visitor, _ = self.door.accept()
            except OSError:
                return
            with visitor, suppress(OSError):
                if credentials(visitor)[1] == os.getuid():
                    numbers = [one.fileno() for one in self.sockets]
                    self.taken = self.taken or bool(numbers)
                    socket.send_fds(visitor, [b"."], numbers)
        # The others come after whatever else there is to do.
        os.kill(os.getpid(), SIGNAL)

    def close(self) -> None:
        """Let nobody ask any more."""
        self.door.close()
        with suppress(OSError), opened(self.folder) as place:
            os.unlink(str(os.getpid()), dir_fd=place)


def received(supervisor: int, folder: Path | None = None) -> list[socket.socket]:
    """Return the sockets of ``supervisor``; none if it does not hand out any.

    :param folder: where it may have made the socket on which it is asked; one of an
        older release has it without a file
    """
    with suppress(OSError), opened(folder) as place:
        if found := asked(path_in(place, supervisor), supervisor):
            return found
    return next(filter(None, (asked(name, supervisor) for name in doors(supervisor))), [])


def asked(name: str, supervisor: int) -> list[socket.socket]:
    """Return the sockets that ``supervisor`` hands out at the socket ``name``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door, suppress(OSError):
        door.settimeout(PATIENCE)
        connect(door, name)
        if credentials(door) == (supervisor, os.getuid()):
            _, numbers, _, _ = socket.recv_fds(door, 1, MOST)
            for number in numbers:
                os.set_inheritable(number, False)
            return [socket.socket(fileno=number) for number in numbers]
    return []


def connect(door: socket.socket, name: str) -> None:
    """Connect, also to a socket whose backlog is full just now: the kernel does not wait.

    :raises OSError: if that fails for ``PATIENCE`` seconds
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return door.connect(name)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


@contextmanager
def opened(folder: Path | None, *, make: bool = False) -> Iterator[int]:
    """Give the descriptor of a folder that our account alone can enter.

    :param make: whether to make it if there is none
    :raises OSError: if there is none, or others can enter
    """
    if folder is None:
        raise FileNotFoundError(errno.ENOENT, "no folder")
    if make:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(place)
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise PermissionError(errno.EACCES, "others can enter", str(folder))
        yield place
    finally:
        os.close(place)


def path_in(place: int, pid: int) -> str:
    """Return a path of the socket of ``pid``, short enough for a socket wherever it is."""
    return f"/proc/self/fd/{place}/{pid}"


def forget_ended(place: int) -> None:
    """Remove the sockets of processes that have ended, and one that had our number."""
    for name in os.listdir(place):
        is_over = name == str(os.getpid()) or not (PROC / name).exists()
        if name.isdigit() and is_over and stat.S_ISSOCK(os.lstat(name, dir_fd=place).st_mode):
            os.unlink(name, dir_fd=place)


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
