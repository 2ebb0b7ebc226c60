"""Start a server as a child of its supervisor, and read the messages that it sends."""

import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from pylonyard.server import environment, sockets
from pylonyard.server.settings import Settings
from pylonyard.server.shim.deferred_bind import CONTROL, SOCKETS
from pylonyard.system.processes import server_marker

UNTESTED = 1.0
"""Seconds that a server has to live with the site's port if nobody could test it before."""


class Child:
    """A running server. ``deferred_bind`` describes the messages that it exchanges with us."""

    def __init__(self, settings: Settings, held: list[socket.socket]) -> None:
        self.held = held
        self.control, theirs = socket.socketpair()
        self.control.setblocking(False)
        with theirs:
            self.pid = spawn(settings, held, theirs)
        self.buffer = b""
        self.temporary_address: tuple[str, int] | None = None
        """The temporary address at which it listens at first."""
        self.claimed: set[int] = set()
        """Descriptors of the sockets that it is going to get."""
        self.needs_site_port = False
        """True if it has to get the site's port before we can test it."""
        self.binds_other_address = False
        """True if it binds the site's port at an address that none of our sockets has."""
        self.may_serve = False
        self.bound_since: float | None = None
        """When it said that it has the site's port; None if it has not said so."""
        self.is_serving = False

    def read_messages(self) -> None:
        """Read and handle the messages that have arrived."""
        with suppress(OSError):  # it has ended, or nothing more has arrived
            while said := self.control.recv(1000):
                self.buffer += said
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            self._handle(line.decode("ascii").split())

    def _handle(self, words: list[str]) -> None:
        match words:
            case ["at", number, host, port]:
                self.claimed.add(int(number))
                self.temporary_address = self.temporary_address or (host, int(port))
            case ["waits", number]:
                self.claimed.add(int(number))
                self.needs_site_port = True
            case ["apart"]:
                self.needs_site_port = self.binds_other_address = True
            case ["there"]:
                self.bound_since = time.monotonic()

    @property
    def has_settled(self) -> bool:
        """True if it has the site's port, and is not about to end over what comes next.

        A server that was tested at its temporary address has gone through that.
        """
        proof = UNTESTED if self.needs_site_port else 0
        return self.bound_since is not None and time.monotonic() - self.bound_since >= proof

    def let_serve(self) -> None:
        """Tell it to serve the site."""
        self.may_serve = True
        if self.binds_other_address:
            sockets.close(self.held)
        for one in self.held:
            if one.fileno() in self.claimed:
                one.listen(sockets.BACKLOG)
        with suppress(OSError):
            self.control.send(b"go\n")


def spawn(settings: Settings, held: list[socket.socket], control: socket.socket) -> int:
    """Start the server as our child, in its own process group; return its pid."""
    us = os.getpid()

    def prepare() -> None:
        os.setpgid(0, 0)
        environment.confine(settings)
        environment.die_with_parent(us)

    marker = server_marker(settings.identity)
    variables = environment.of_server(settings, os.environ, marker)
    if held:
        variables |= {SOCKETS: ",".join(sockets.describe(held)), CONTROL: str(control.fileno())}
    process = subprocess.Popen(
        command(settings),
        stdin=subprocess.DEVNULL,
        cwd=settings.data,
        env=variables,
        pass_fds=[one.fileno() for one in (*held, control)] if held else [],
        preexec_fn=prepare,
    )
    # We reap it ourselves, together with the processes that it leaves.
    process.returncode = 0
    return process.pid


# The server's command line, with a wrapper that lets it finish its requests.


GENTLE = Path(__file__).parent / "shim" / "gentle.py"


def interpreter(script: Path) -> list[str]:
    """Return the Python, with options, in the first line of ``script``; [] if it names none."""
    with open(script, "rb") as stream:
        first = stream.readline(4096).decode(errors="replace").strip()
    words = first[2:].split() if first.startswith("#!") else []
    is_python = bool(words) and Path(words[0]).name.startswith("python")
    return words if is_python else []


def python(settings: Settings) -> list[str]:
    return [settings.python] if settings.python else interpreter(settings.paster)


def is_wrapped(settings: Settings) -> bool:
    """Return whether the server runs inside ``gentle``: it does if Python runs it."""
    return bool(python(settings))


def command(settings: Settings) -> list[str]:
    """Return the server's command line: paster in the application's interpreter.

    A script that names no Python, such as a shell script, runs as it is.
    """
    wrapped = [*python(settings), str(GENTLE)] if is_wrapped(settings) else []
    return [*wrapped, str(settings.paster), "serve", str(settings.ini)]
