"""Let a new server take over: started, tested beside the old one, told to serve.

``Child`` is the new server, as its supervisor sees it; ``Takeover`` asks it at its temporary
port, and stops the old supervisors once it serves.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from pylonyard.server import environment, sockets
from pylonyard.server.launch import say
from pylonyard.server.settings import Settings
from pylonyard.server.shim.gentle import CONTROL, SOCKETS
from pylonyard.system import listeners
from pylonyard.system.errors import PylonyardError
from pylonyard.system.processes import Marker, marked, send, server_marker, supervisor_marker

UNTESTED = 1.0
"""Seconds that a server has to live with the site's port if nobody could test it before."""

CHECK_TIMEOUT = 0.8 * sockets.HANDOVER_TIMEOUT
"""Seconds for one answer; less than a client waits for our sockets."""

MOST_ERRORS = 3
"""Errors after which a new server is refused if the old one had none."""


class Child:
    """A running server. ``shim/gentle.py`` describes the messages that it exchanges with us."""

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
        """Return whether it has kept the site's port for a few seconds.

        A server that was tested at its temporary address need not wait.
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
        environment.command(settings),
        stdin=subprocess.DEVNULL,
        cwd=settings.data,
        env=variables,
        pass_fds=[one.fileno() for one in (*held, control)] if held else [],
        preexec_fn=prepare,
    )
    # We reap it ourselves, together with the processes that it leaves.
    process.returncode = 0
    return process.pid


class TakeoverRefusedError(PylonyardError):
    """The new server may not replace the old one; the text says why."""


class Takeover:
    """The takeover from other supervisors of the same site; often there are none.

    ``report`` is the socket to the process that asked for it. When the new server serves,
    that process is told so and closes the socket; then the others are stopped.
    """

    def __init__(
        self, settings: Settings, others: Sequence[int], report: socket.socket | None
    ) -> None:
        self.settings = settings
        self.others = others
        self.report = report
        self.errors = 0
        self.stop_requested = not others
        # Asked before the deadline is set: an old server that hangs takes its time.
        self.status_before = self._status_of_others()
        self.deadline = time.monotonic() + settings.start_timeout

    @property
    def _marker(self) -> Marker:
        return supervisor_marker(self.settings.identity, self.settings.own_places)

    def _ask(self, host: str, port: int) -> int | None:
        name = self.settings.address.split("/")[2]
        timeout = min(self.settings.hang_timeout, CHECK_TIMEOUT)
        return listeners.status(host, port, self.settings.check_path, timeout, name)

    def _status_of_others(self) -> int | None:
        """Return the status that the old server answers with, at its own port."""
        ours = listeners.of_processes(self.others)
        places = {(str(one.address), one.port) for one in ours}
        found = (self._ask(host, port) for host, port in sorted(places))
        return next((status for status in found if status is not None), None)

    def is_acceptable(self, host: str, port: int) -> bool:
        """Return whether the new server answers at that address, no worse than the old one.

        :raises TakeoverRefusedError: if it answers with errors several times, the old one without
        """
        status = self._ask(host, port)
        if status is None:
            return False
        if (
            self.stop_requested
            or status < 500
            or self.status_before is None
            or self.status_before >= 500
        ):
            return True
        self.errors += 1
        if self.errors < MOST_ERRORS:
            return False
        raise TakeoverRefusedError(
            f"{self.settings.check_path} answers {status}, before {self.status_before}"
        )

    def check_deadline(self) -> None:
        """Give up if the old server serves and ours does not in time.

        :raises TakeoverRefusedError: saying how long we have waited
        """
        if self.others and not self.stop_requested and time.monotonic() > self.deadline:
            waited = f"did not answer in {self.settings.start_timeout} s"
            raise TakeoverRefusedError(f"{self.settings.address} {waited}")

    def check_others_ended(self, how: str) -> None:
        """Give up if our server has ended while the others run and were not asked to stop.

        :param how: how it ended
        :raises TakeoverRefusedError: saying so
        """
        if not self.stop_requested and marked(self._marker, candidates=self.others):
            raise TakeoverRefusedError(f"the server ended as soon as it served: {how}")

    def stop_others(self) -> bool:
        """Tell the others to stop; return whether they have ended."""
        if not self.stop_requested:
            self._request_stop()
        return not marked(self._marker, candidates=self.others)

    def stop_others_when_acknowledged(self) -> None:
        """Tell the others to stop once the other end of ``report`` is closed."""
        if not self.stop_requested and self._is_acknowledged():
            self._request_stop()

    def _is_acknowledged(self) -> bool:
        if self.report is None:
            return True
        with suppress(BlockingIOError):
            self.report.setblocking(False)
            with suppress(ConnectionError):
                self.report.recv(1)
            return True
        return False

    def _request_stop(self) -> None:
        self.stop_requested = True
        for pid in self.others:
            say(f"takes over from process {pid}")
            send(pid, signal.SIGTERM, self._marker)

    def report_line(self, line: str) -> None:
        if self.report is not None:
            with suppress(OSError):
                self.report.sendall(f"{line}\n".encode())
            if not self.others:
                self.report.close()
                self.report = None
