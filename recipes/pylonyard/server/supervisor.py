"""The process that keeps one server running: ``python -m`` with a server.json.

It takes no commands but SIGTERM. What it does is appended to the site's log, where
its output, and the server's, goes.
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
from pylonyard.server import status as sight
from pylonyard.server.child import Child
from pylonyard.server.log import say
from pylonyard.server.settings import Settings, load
from pylonyard.server.sockets import SIGNAL, Offer, close, refuse
from pylonyard.server.takeover import Refused, Succession
from pylonyard.system import listeners
from pylonyard.system.errors import ServerError, reason
from pylonyard.system.processes import (
    children,
    descendants,
    is_supervisor,
    marked,
    supervisor_marker,
)

STOP = {signal.SIGTERM, signal.SIGINT}
WAITED_FOR = {*STOP, SIGNAL, signal.SIGCHLD, signal.SIGHUP}

LONGEST_PAUSE = 60.0
"""Seconds; also how long a server has to serve to be trusted again."""


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: 1, 2, 4, ... 60."""
    return min(LONGEST_PAUSE, 2.0 ** min(failures - 1, 10))


def ending(status: int) -> str:
    """Return in words how a process ended, from what ``waitpid`` says."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    return f"signal {signal.Signals(-code).name}" if -code < 32 else f"signal {-code}"


class Supervisor:
    """Runs the server again and again, until told to stop."""

    def __init__(
        self,
        settings: Settings,
        sockets: list[socket.socket] | None = None,
        after: Sequence[int] = (),
        report: socket.socket | None = None,
    ) -> None:
        self.settings = settings
        self.sockets = sockets or []
        """The site's; none if its server has to see to that by itself."""
        self.offer = Offer(self.sockets, settings.handover)
        self.succession = Succession(settings, after, report)
        self.stopping = False
        self.serving_since: float | None = None
        self.served = False
        """Whether any server ever listened: if none, none is started again."""

    def run(self) -> int:
        """Return the exit status: 0 if told to stop, 1 if no server ever listened."""
        failures = 0
        while not self.stopping:
            self.serving_since = None
            try:
                status = self.run_server()
            except OSError as error:  # no memory for a process, a folder that is away
                if not self.served:
                    raise
                say(f"the server could not be started: {reason(error)}")
            else:
                if status is None:
                    break
                say(f"the server ended: {ending(status)}")
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
        """Return the seconds for which the last server served, not those it loaded."""
        return 0.0 if self.serving_since is None else time.monotonic() - self.serving_since

    def run_server(self) -> int | None:
        """Return how one server ended, None if because we were told to stop."""
        server = Child(self.settings, self.sockets)
        say(f"started the server, process {server.pid}")
        while not self.stopping:
            # Only until it serves, alone, is there anything to look at every so often.
            at_rest = server.is_there and self.succession.others_were_told
            self.wait(None if at_rest else sight.PAUSE)
            if (status := reap(server.pid)) is not None:
                return status
            if not server.is_there:
                self.help(server)
            else:
                self.succession.end_others_once_let_go()
        # Whoever connects from now on is another server's, or is refused.
        close(self.sockets)
        finish(server.pid, self.settings.stop_timeout)
        return None

    def help(self, server: Child) -> None:
        """Bring a server that was started a step nearer to serving the site."""
        server.listen()
        if not self.sockets and not server.has_word:
            server.is_there = sight.is_listening(self.settings)
        elif not server.has_word and self.may_serve(server):
            server.give_the_word()
        elif not server.claimed and self.is_on_its_own(server):
            close(self.sockets)
            server.is_there = True
        if server.is_there:
            self.served, self.serving_since = True, time.monotonic()
            say(f"the server listens at {self.settings.address}")
            self.succession.tell("there")
        elif not self.served:
            self.succession.expect_in_time()

    def may_serve(self, server: Child) -> bool:
        if server.waits:
            return self.succession.ends_others()
        return server.stands_at is not None and self.succession.approves(*server.stands_at)

    def is_on_its_own(self, server: Child) -> bool:
        """Whether it went past what stands around ``bind``, as with gevent's sockets."""
        kept = {os.fstat(one.fileno()).st_ino for one in self.sockets}
        found = listeners.inodes(self.settings.host, self.settings.port) - kept
        return bool(listeners.holders(found, [server.pid, *descendants([server.pid])]))

    def pause(self, failures: int) -> None:
        """Wait before the next server; let visitors wait as well if it is not for long."""
        seconds = pause_after(failures)
        if failures > 1 and not self.has_successor():
            refuse(self.sockets)
        say(f"starting it again in {seconds:g} s")
        self.sleep(seconds)

    def has_successor(self) -> bool:
        """Whether another supervisor may serve with the sockets that it took of us."""
        return self.offer.taken and bool(marked(supervisor_marker(self.settings.identity)))

    def sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.stopping and (left := deadline - time.monotonic()) > 0:
            self.wait(left)
            reap(-1)

    def wait(self, seconds: float | None) -> None:
        """Wait for a signal; they are blocked, so that none comes unexpected."""
        if seconds is None:
            number = signal.sigwaitinfo(WAITED_FOR).si_signo
        else:
            received = signal.sigtimedwait(WAITED_FOR, seconds)
            number = received.si_signo if received else 0
        self.stopping = self.stopping or number in STOP
        self.offer.hand_out()


def reap(awaited: int) -> int | None:
    """Take leave of children that ended; return the status of ``awaited`` if it did."""
    found = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == awaited:
                found = status
    return found


def finish(pid: int, timeout: float) -> None:
    """Let the server end what it is doing, for at most ``timeout`` seconds.

    SIGINT does that, with ``gentle`` around it: paster dies from SIGTERM at once,
    requests in flight with it.
    """
    say(f"stopping the server, process {pid}")
    os.kill(pid, signal.SIGINT)  # our child, not reaped: the number is its own
    if not until(lambda: reap(pid) is not None, timeout):
        say(f"the server did not stop within {timeout:g} s: killing it")


def kill_children() -> None:
    """End all that a server left; we inherit whatever its children started.

    A supervisor among them was started by the application, for this site or another.
    """

    def none_left() -> bool:
        reap(-1)
        left = [pid for pid in children([os.getpid()]) if not is_supervisor(pid)]
        return not [pid for pid in left if is_killed(pid)]

    until(none_left, 2)


def is_killed(pid: int) -> bool:
    """Kill our child ``pid``; return whether it has yet to be waited for."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False  # it became another account's, as sudo does
    return True


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether ``condition`` came true, looked at whenever a child ends."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        signal.sigtimedwait({signal.SIGCHLD}, sight.PAUSE)
    return True


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="the site's server.json")
    parser.add_argument("--sockets", nargs="*", type=int, default=[], help="the site's, by number")
    parser.add_argument("--after", nargs="*", type=int, default=[], help="whose place to take")
    parser.add_argument("--report", type=int, help="the socket on which to say how it goes")
    given = parser.parse_args(words)
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    report = None if given.report is None else socket.socket(fileno=given.report)
    try:
        environment.adopt_orphans()
        sockets = [socket.socket(fileno=number) for number in given.sockets]
        supervisor = Supervisor(load(given.source), sockets, given.after, report)
        try:
            return supervisor.run()
        finally:
            supervisor.offer.close()
    except (Refused, ServerError, OSError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        say(f"cannot go on: {why}")
        if report:
            with suppress(OSError):
                report.send(f"{why}\n".encode())
        kill_children()
        return 1


if __name__ == "__main__":
    sys.exit(main())
