"""The process that keeps one server running: ``python -m`` with a server.json.

It takes no commands but SIGTERM. What it does is appended to the site's log, where
its output, and the server's, goes.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pylonyard.server import environment, sight
from pylonyard.server.errors import ServerError
from pylonyard.server.processes import children, server_marker
from pylonyard.server.serving import command
from pylonyard.server.settings import Settings, load

STOP = {signal.SIGTERM, signal.SIGINT}
WAITED_FOR = {*STOP, signal.SIGCHLD, signal.SIGHUP}

LONGEST_PAUSE = 60.0
"""Seconds; also how long a server has to serve to be trusted again."""

PREFIX = "pylonyard:"
"""Follows the time in each of our lines, so that they are told from the server's."""


def say(message: str) -> None:
    """Append one line to the log; a full disk must not end a server."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{now} {PREFIX} {message}\n".encode())


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

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = False
        self.served = False
        """Whether any server ever listened: if none, none is started again."""

    def run(self) -> int:
        """Return the exit status: 0 if told to stop, 1 if no server ever listened."""
        failures = 0
        while not self.stopping:
            began = time.monotonic()
            status = self.run_server()
            if status is None:
                break
            say(f"the server ended: {ending(status)}")
            kill_children()
            if self.stopping:
                break
            if not self.served:
                return 1
            lasted = time.monotonic() - began
            failures = 1 if lasted >= LONGEST_PAUSE else failures + 1
            say(f"starting it again in {pause_after(failures):g} s")
            self.sleep(pause_after(failures))
        kill_children()
        say("stopped")
        return 0

    def run_server(self) -> int | None:
        """Return how one server ended, None if because we were told to stop."""
        pid = spawn(self.settings)
        say(f"started the server, process {pid}")
        listens = False
        while not self.stopping:
            # Only until it listens is there anything to look at every so often.
            self.wait(None if listens else sight.PAUSE)
            if (status := reap(pid)) is not None:
                return status
            if not listens and sight.is_listening(self.settings):
                listens = self.served = True
                say(f"the server listens at {self.settings.address}")
        finish(pid, self.settings.stop_timeout)
        return None

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


def spawn(settings: Settings) -> int:
    """Start the server as our child, in a process group of its own; return its pid."""
    us = os.getpid()

    def prepare() -> None:
        os.setpgid(0, 0)
        environment.confine(settings)
        environment.die_with_parent(us)

    marker = server_marker(settings.identity)
    process = subprocess.Popen(
        command(settings),
        stdin=subprocess.DEVNULL,
        cwd=settings.data,
        env=environment.of_server(settings, os.environ, marker),
        preexec_fn=prepare,
    )
    # We reap it ourselves, together with what it left behind.
    process.returncode = 0
    return process.pid


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
    """End all that a server left; we inherit whatever its children started."""

    def none_left() -> bool:
        reap(-1)
        left = list(children())
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    until(none_left, 2)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether ``condition`` came true, looked at whenever a child ends."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        signal.sigtimedwait({signal.SIGCHLD}, sight.PAUSE)
    return True


def main(source: Path) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    try:
        environment.adopt_orphans()
        return Supervisor(load(source)).run()
    except (ServerError, OSError) as error:
        say(f"cannot go on: {error}")
        kill_children()
        return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
