"""A server as its supervisor started it, and what it says of itself."""

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from pylonyard.server import environment, sockets
from pylonyard.server.settings import Settings
from pylonyard.server.shim.standing_in import CONTROL, SOCKETS
from pylonyard.system.processes import server_marker


class Child:
    """A server; ``standing_in`` has the words in which it talks to us."""

    def __init__(self, settings: Settings, held: list[socket.socket]) -> None:
        self.held = held
        self.control, theirs = socket.socketpair()
        self.control.setblocking(False)
        with theirs:
            self.pid = spawn(settings, held, theirs)
        self.heard = b""
        self.stands_at: tuple[str, int] | None = None
        """Where it listens apart."""
        self.claimed: set[int] = set()
        """Numbers of the sockets that it is going to have."""
        self.waits = False
        """Whether it has to have the port before it can be asked anything."""
        self.is_apart = False
        """Whether the port is all that it wants, at another address than ours."""
        self.has_word = False
        self.is_there = False

    def listen(self) -> None:
        """Take in what it has said since."""
        with suppress(OSError):  # it has ended, or says no more
            while said := self.control.recv(1000):
                self.heard += said
        *lines, self.heard = self.heard.split(b"\n")
        for line in lines:
            self._take_in(line.decode("ascii").split())

    def _take_in(self, words: list[str]) -> None:
        match words:
            case ["at", number, host, port]:
                self.claimed.add(int(number))
                self.stands_at = self.stands_at or (host, int(port))
            case ["waits", number]:
                self.claimed.add(int(number))
                self.waits = True
            case ["apart"]:
                self.waits = self.is_apart = True
            case ["there"]:
                self.is_there = True

    def give_the_word(self) -> None:
        """Let it serve the site."""
        self.has_word = True
        if self.is_apart:
            sockets.close(self.held)
        for one in self.held:
            if one.fileno() in self.claimed:
                one.listen(sockets.BACKLOG)
        with suppress(OSError):
            self.control.send(b"go\n")


def spawn(settings: Settings, held: list[socket.socket], control: socket.socket) -> int:
    """Start the server as our child, in a process group of its own; return its pid."""
    us = os.getpid()

    def prepare() -> None:
        os.setpgid(0, 0)
        environment.confine(settings)
        environment.die_with_parent(us)

    marker = server_marker(settings.identity)
    variables = environment.of_server(settings, os.environ, marker)
    if held:
        variables |= {SOCKETS: ",".join(sockets.described(held)), CONTROL: str(control.fileno())}
    process = subprocess.Popen(
        command(settings),
        stdin=subprocess.DEVNULL,
        cwd=settings.data,
        env=variables,
        pass_fds=[one.fileno() for one in (*held, control)] if held else [],
        preexec_fn=prepare,
    )
    # We reap it ourselves, together with what it left behind.
    process.returncode = 0
    return process.pid


# The command line of the server, with a wrapper that lets it end gently.


GENTLE = Path(__file__).parent / "shim" / "gentle.py"


def interpreter(script: Path) -> list[str]:
    """Return the Python, and its options, that runs ``script``; nothing if unclear."""
    with open(script, "rb") as stream:
        first = stream.readline(4096).decode(errors="replace").strip()
    words = first[2:].split() if first.startswith("#!") else []
    is_python = bool(words) and Path(words[0]).name.startswith("python")
    return words if is_python else []


def python(settings: Settings) -> list[str]:
    return [settings.python] if settings.python else interpreter(settings.paster)


def is_wrapped(settings: Settings) -> bool:
    """Whether the server is a Python that ``gentle`` is put around."""
    return bool(python(settings))


def command(settings: Settings) -> list[str]:
    """Return what to run: paster in the application's interpreter.

    A script that no Python is named in, such as a shell script, runs as it is.
    """
    wrapped = [*python(settings), str(GENTLE)] if is_wrapped(settings) else []
    return [*wrapped, str(settings.paster), "serve", str(settings.ini)]
