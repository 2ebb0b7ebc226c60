"""Test a new server beside the old one; stop the old supervisors once the new one works."""

import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from pylonyard.server.log import say
from pylonyard.server.settings import Settings
from pylonyard.server.sockets import HANDOVER_TIMEOUT
from pylonyard.system import listeners
from pylonyard.system.errors import PylonyardError
from pylonyard.system.processes import Marker, marked, send, supervisor_marker

CHECK_TIMEOUT = 0.8 * HANDOVER_TIMEOUT
"""Seconds for one answer; less than a client waits for our sockets."""

MOST_ERRORS = 3
"""Errors after which a new server is refused if the old one had none."""


class TakeoverRefused(PylonyardError):
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

        :raises TakeoverRefused: if it answers with errors several times, the old one without
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
        raise TakeoverRefused(
            f"{self.settings.check_path} answers {status}, before {self.status_before}"
        )

    def check_deadline(self) -> None:
        """Give up if the old server serves and ours does not in time.

        :raises TakeoverRefused: saying how long we have waited
        """
        if self.others and not self.stop_requested and time.monotonic() > self.deadline:
            waited = f"did not answer in {self.settings.start_timeout} s"
            raise TakeoverRefused(f"{self.settings.address} {waited}")

    def check_others_ended(self, how: str) -> None:
        """Give up if our server has ended while the others run and were not asked to stop.

        :param how: how it ended
        :raises TakeoverRefused: saying so
        """
        if not self.stop_requested and marked(self._marker, candidates=self.others):
            raise TakeoverRefused(f"the server ended as soon as it served: {how}")

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
