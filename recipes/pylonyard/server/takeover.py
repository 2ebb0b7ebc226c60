"""How a supervisor takes the place of those before it: seen to work first, then they end."""

import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from pylonyard.server.log import say
from pylonyard.server.settings import Settings
from pylonyard.server.sockets import PATIENCE
from pylonyard.system import listeners
from pylonyard.system.processes import Marker, marked, send, supervisor_marker

LONGEST_ASK = 0.8 * PATIENCE
"""Seconds for one answer; whoever wants our sockets meanwhile has to be patient."""

TRIES = 3
"""Errors of a new server that make it worse than the one before."""


class Refused(Exception):
    """Why a new server is not to serve."""


class Succession:
    """A new server beside others of the same site; often there are none.

    ``report`` leads to whoever asked for it: told that the server serves, they close it,
    and the others end.
    """

    def __init__(
        self, settings: Settings, others: Sequence[int], report: socket.socket | None
    ) -> None:
        self.settings = settings
        self.others = others
        self.report = report
        self.errors = 0
        self.others_were_told = not others
        # One that hangs takes its time; the new one has all of its own after that.
        self.before = self._answered_before()
        self.deadline = time.monotonic() + settings.start_timeout

    @property
    def _marker(self) -> Marker:
        return supervisor_marker(self.settings.identity, self.settings.places)

    def _ask(self, host: str, port: int) -> int | None:
        name = self.settings.address.split("/")[2]
        timeout = min(self.settings.hang_timeout, LONGEST_ASK)
        return listeners.status(host, port, self.settings.check_path, timeout, name)

    def _answered_before(self) -> int | None:
        """Return how the site answers where the others have it do so, be it at another port."""
        ours = listeners.of_processes(self.others)
        places = {(str(one.address), one.port) for one in ours}
        found = (self._ask(host, port) for host, port in sorted(places))
        return next((status for status in found if status is not None), None)

    def approves(self, host: str, port: int) -> bool:
        """Whether the server that listens there answers, no worse than the one before.

        :raises Refused: if it answers worse several times
        """
        status = self._ask(host, port)
        if status is None:
            return False
        if self.others_were_told or status < 500 or self.before is None or self.before >= 500:
            return True
        self.errors += 1
        if self.errors < TRIES:
            return False
        raise Refused(f"{self.settings.check_path} answers {status}, before {self.before}")

    def expect_in_time(self) -> None:
        """Give up if others serve, and ours should do so by now.

        :raises Refused: saying how long it was waited for
        """
        if self.others and not self.others_were_told and time.monotonic() > self.deadline:
            waited = f"did not answer in {self.settings.start_timeout} s"
            raise Refused(f"{self.settings.address} {waited}")

    def ends_others(self) -> bool:
        """End the others; return whether they have ended."""
        if not self.others_were_told:
            self._end_others()
        return not marked(self._marker, candidates=self.others)

    def end_others_once_let_go(self) -> None:
        """End the others once whoever asked for it has closed the report."""
        if not self.others_were_told and self._is_let_go():
            self._end_others()

    def _is_let_go(self) -> bool:
        if self.report is None:
            return True
        with suppress(BlockingIOError):
            self.report.setblocking(False)
            with suppress(ConnectionError):
                self.report.recv(1)
            return True
        return False

    def _end_others(self) -> None:
        self.others_were_told = True
        for pid in self.others:
            say(f"takes the place of process {pid}")
            send(pid, signal.SIGTERM, self._marker)

    def tell(self, line: str) -> None:
        if self.report is not None:
            with suppress(OSError):
                self.report.sendall(f"{line}\n".encode())
            if not self.others:
                self.report.close()
                self.report = None
