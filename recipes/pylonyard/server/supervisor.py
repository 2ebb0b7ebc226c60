"""Keep one server running: the process ``python -m pylonyard.server.supervisor``.

It stops on SIGTERM, and takes no other command. What it does is written to the site's log,
where its output and the server's go.
"""

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pylonyard.server import environment
from pylonyard.server.launch import say
from pylonyard.server.settings import Settings, load
from pylonyard.server.sockets import REQUEST_SIGNAL, SocketHandover, close, refuse_connections
from pylonyard.server.status import PAUSE, is_listening
from pylonyard.server.takeover import Child, Takeover, TakeoverRefusedError
from pylonyard.system import listeners
from pylonyard.system.errors import ServerError, reason
from pylonyard.system.processes import (
    children,
    descendants,
    is_supervisor,
    marked,
    supervisor_marker,
)

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
BLOCKED_SIGNALS = {*STOP_SIGNALS, REQUEST_SIGNAL, signal.SIGCHLD, signal.SIGHUP}

LONGEST_PAUSE = 60.0
"""Seconds; a server that served as long counts as working."""


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: 1, 2, 4, ... 60."""
    return min(LONGEST_PAUSE, 2.0 ** min(failures - 1, 10))


def describe_exit(status: int) -> str:
    """Describe how a process ended, from the status of ``waitpid``."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    return f"signal {signal.Signals(-code).name}" if -code < 32 else f"signal {-code}"


class Supervisor:
    """Run the server, again whenever it ends, until told to stop."""

    def __init__(
        self,
        settings: Settings,
        sockets: list[socket.socket] | None = None,
        after: Sequence[int] = (),
        report: socket.socket | None = None,
    ) -> None:
        self.settings = settings
        self.sockets = sockets or []
        """The site's; empty if the server binds its sockets by itself."""
        self.handover = SocketHandover(self.sockets, settings.handover)
        self.takeover = Takeover(settings, after, report)
        self.stopping = False
        self.serving_since: float | None = None
        self.served = False
        """True once a server has listened. Before that, a server that ends is not started again."""

    def run(self) -> int:
        """Run servers; return 0 when told to stop, 1 if the first one never listened."""
        failures = 0
        while not self.stopping:
            self.serving_since = None
            try:
                status = self.run_server()
            except OSError as error:  # no memory for a process, a missing folder
                if not self.served:
                    raise
                say(f"the server could not be started: {reason(error)}")
            else:
                if status is None:
                    break
                say(f"the server ended: {describe_exit(status)}")
                if self.served:
                    self.takeover.check_others_ended(describe_exit(status))
            kill_children()
            if self.stopping:
                break
            if not self.served:
                return 1
            failures = 1 if self.served_for() >= LONGEST_PAUSE else failures + 1
            self.pause(failures)
        kill_children()
        say("stopped")
        return 0

    def served_for(self) -> float:
        """Return the seconds for which the last server served, without its time to start."""
        return 0.0 if self.serving_since is None else time.monotonic() - self.serving_since

    def run_server(self) -> int | None:
        """Run one server until it ends; return its status, None if we were told to stop."""
        server = Child(self.settings, self.sockets)
        say(f"started the server, process {server.pid}")
        while not self.stopping:
            # Poll only until it serves and the old supervisors were told to stop.
            at_rest = server.is_serving and self.takeover.stop_requested
            self.wait(None if at_rest else PAUSE)
            if (status := reap(server.pid)) is not None:
                return status
            if not server.is_serving:
                self.advance(server)
            else:
                self.takeover.stop_others_when_acknowledged()
        # From now on, clients reach another server, or are refused.
        close(self.sockets)
        stop_server(server.pid, self.settings.stop_timeout)
        return None

    def advance(self, server: Child) -> None:
        """Read the server's messages, and take the next step towards serving the site."""
        server.read_messages()
        server.is_serving = server.has_settled
        if not self.sockets and not server.may_serve:
            server.is_serving = is_listening(self.settings)
        elif not server.may_serve and self.may_serve(server):
            server.let_serve()
        elif not server.claimed and self.listens_by_itself(server):
            close(self.sockets)
            server.is_serving = True
        if server.is_serving:
            self.served, self.serving_since = True, time.monotonic()
            say(f"the server listens at {self.settings.address}")
            self.takeover.report_line("there")
        elif not self.served:
            self.takeover.check_deadline()

    def may_serve(self, server: Child) -> bool:
        if server.needs_site_port:
            return self.takeover.stop_others()
        return server.temporary_address is not None and self.takeover.is_acceptable(
            *server.temporary_address
        )

    def listens_by_itself(self, server: Child) -> bool:
        """Return whether it listens without our ``bind``, as with gevent's sockets."""
        kept = {os.fstat(one.fileno()).st_ino for one in self.sockets}
        found = listeners.inodes(self.settings.host, self.settings.port) - kept
        return bool(listeners.holders(found, [server.pid, *descendants([server.pid])]))

    def pause(self, failures: int) -> None:
        """Wait before the next server; refuse clients meanwhile, unless it is the first failure."""
        seconds = pause_after(failures)
        if failures > 1 and not self.has_successor():
            refuse_connections(self.sockets)
        say(f"starting it again in {seconds:g} s")
        self.sleep(seconds)

    def has_successor(self) -> bool:
        """Return whether another supervisor may serve with the sockets that it got from us."""
        return self.handover.was_taken and bool(marked(supervisor_marker(self.settings.identity)))

    def sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.stopping and (left := deadline - time.monotonic()) > 0:
            self.wait(left)
            reap(-1)

    def wait(self, seconds: float | None) -> None:
        """Wait for a signal. They are blocked, so that none interrupts other work."""
        if seconds is None:
            number = signal.sigwaitinfo(BLOCKED_SIGNALS).si_signo
        else:
            received = signal.sigtimedwait(BLOCKED_SIGNALS, seconds)
            number = received.si_signo if received else 0
        self.stopping = self.stopping or number in STOP_SIGNALS
        self.handover.serve_requests()


def reap(awaited: int) -> int | None:
    """Reap children that have ended; return the status of ``awaited`` if it is one."""
    found = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == awaited:
                found = status
    return found


def stop_server(pid: int, timeout: float) -> None:
    """Have the server finish its requests and end, within ``timeout`` seconds.

    SIGINT does that inside ``gentle``. On SIGTERM paster would end at once, in the middle
    of requests.
    """
    say(f"stopping the server, process {pid}")
    os.kill(pid, signal.SIGINT)  # our child, not reaped: the number is its own
    if not until(lambda: reap(pid) is not None, timeout):
        say(f"the server did not stop within {timeout:g} s: killing it")


def kill_children() -> None:
    """Kill the processes that a server left: we inherit what its children started.

    Spare supervisors: the application may have started one, for this site or another.
    """

    def none_left() -> bool:
        reap(-1)
        left = [pid for pid in children([os.getpid()]) if not is_supervisor(pid)]
        return not [pid for pid in left if kill_child(pid)]

    until(none_left, 2)


def kill_child(pid: int) -> bool:
    """Kill our child ``pid``; return whether it has to be reaped still."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False  # it runs as another account, as sudo does
    return True


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for ``condition``, tested whenever a child ends; return whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        signal.sigtimedwait({signal.SIGCHLD}, PAUSE)
    return True


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="the site's server.json")
    parser.add_argument(
        "--sockets", nargs="*", type=int, default=[], help="numbers of the site's sockets"
    )
    parser.add_argument(
        "--after", nargs="*", type=int, default=[], help="pids of the supervisors to replace"
    )
    parser.add_argument("--report", type=int, help="number of the socket for reports")
    given = parser.parse_args(words)
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_SIGNALS)
    report = None if given.report is None else socket.socket(fileno=given.report)
    try:
        environment.adopt_orphans()
        sockets = [socket.socket(fileno=number) for number in given.sockets]
        supervisor = Supervisor(load(given.source), sockets, given.after, report)
        try:
            return supervisor.run()
        finally:
            supervisor.handover.close()
    except (TakeoverRefusedError, ServerError, OSError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        say(f"cannot go on: {why}")
        if report:
            with suppress(OSError):
                report.send(f"{why}\n".encode())
        kill_children()
        return 1


if __name__ == "__main__":
    sys.exit(main())
