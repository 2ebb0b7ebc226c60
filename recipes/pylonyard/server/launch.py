"""Start a supervisor, wait until its server serves, and say why if it does not."""

import errno
import os
import select
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pylonyard.server import environment, status
from pylonyard.server.settings import Settings
from pylonyard.server.sockets import close
from pylonyard.system import errors
from pylonyard.system.errors import ServerError
from pylonyard.system.processes import kill_trees, shortened, supervisor_marker
from pylonyard.system.safe_files import make_directory, open_log

PACKAGES = Path(__file__).resolve().parents[2]
"""The folder that ``pylonyard`` is imported from."""


class NotServingError(ServerError):
    """The new server did not serve the site in time, or ended."""


def launch(
    settings: Settings,
    progress: Callable[[], None],
    sockets: list[socket.socket],
    after: Sequence[int] = (),
) -> None:
    """Start a supervisor, and wait until its server serves the site.

    :param sockets: the site's; this process closes them afterwards
    :param after: pids of the supervisors to stop once the new server serves
    :raises NotServingError: if it does not; whatever was started has been stopped again
    """
    for directory in (settings.run, settings.data, settings.application_log.parent):
        make_directory(directory)
    log = open_log(settings.log)
    ours, theirs = socket.socketpair()
    with ours:
        try:
            status = os.fstat(log)
            size = status.st_size if stat.S_ISREG(status.st_mode) else None
            supervisor = _spawn_supervisor(settings, log, sockets, after, theirs)
        finally:
            os.close(log)
            theirs.close()
            close(sockets)
        try:
            patience = settings.start_timeout + (settings.stop_timeout if after else 0)
            _wait_for_report(settings, ours, size, patience, progress)
        except BaseException:
            kill_trees(lambda: [supervisor.pid])
            raise


def _wait_for_report(
    settings: Settings,
    report: socket.socket,
    size: int | None,
    patience: float,
    progress: Callable[[], None],
) -> None:
    """Wait for the supervisor to say that its server serves the site.

    :param size: bytes of the log before the start; None if the log is no file
    """
    deadline = time.monotonic() + patience
    while not select.select([report], [], [], status.PAUSE)[0]:
        if time.monotonic() >= deadline:
            waited = f"{settings.address} did not answer in {settings.start_timeout} s"
            raise NotServingError(f"{waited}, see {settings.log}")
        progress()
    said = report.recv(1000).decode(errors="replace").strip()
    if said != "there":
        raise NotServingError(
            f"{said}, see {settings.log}" if said else failure_reason(settings.log, size)
        )


def _spawn_supervisor(
    settings: Settings,
    log: int,
    sockets: Sequence[socket.socket],
    after: Sequence[int],
    report: socket.socket,
) -> subprocess.Popen[bytes]:
    """Start the supervisor, detached from the terminal and from our open files."""
    marker = supervisor_marker(settings.identity)
    numbers = [one.fileno() for one in sockets]
    words = [str(settings.source), "--report", str(report.fileno())]
    for option, values in (("--sockets", numbers), ("--after", after)):
        words += [option, *map(str, values)] if values else []
    return subprocess.Popen(
        [sys.executable, "-E", "-s", "-S", "-m", "pylonyard.server.supervisor", *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        # Python imports from the working directory first, and the application's data
        # may hold a http.py: the supervisor never works there.
        cwd=PACKAGES,
        env={**environment.base(os.environ), marker.variable: marker.identity},
        pass_fds=[*numbers, report.fileno()],
        start_new_session=True,
        preexec_fn=lambda: environment.confine(settings),
    )


# The log: the lines of the supervisor, and the reason of a failure, which is read from it.


PREFIX = "pylonyard:"
"""Follows the time in each of our lines, to tell them from the server's."""

LOG_BYTES_READ = 65536
"""Bytes at the end of the log that are read."""

NO_OUTPUT = "it printed nothing"

LONGEST_MESSAGE = 300
"""Characters of another program's message that are shown."""


def say(message: str) -> None:
    """Append one line to the log; ignore errors, since a full disk must not end a server."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{now} {PREFIX} {message}\n".encode())


def failure_reason(log: Path, before: int | None) -> str:
    """Return the most telling line that was logged after the first ``before`` bytes."""
    if before is None:
        return f"it is not known why, as {log} cannot be written: {os.strerror(errno.EROFS)}"
    with open(log, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        start = before if before <= size else 0  # it may have been rotated
        stream.seek(max(start, size - LOG_BYTES_READ))
        lines = stream.read().decode(errors="replace").splitlines()
    reason = (
        most_telling_line(lines)
        if any(map(str.strip, lines))
        else NO_OUTPUT + errors.limit_of_size(size)
    )
    return f"{errors.with_limit(reason)}, see {log}"


def most_telling_line(lines: Iterable[str]) -> str:
    """Return the last line with an exception, or else the last line."""
    said = [line.rstrip() for line in lines if line.strip()]
    theirs = [line for line in said if f" {PREFIX} " not in line]
    raised = [line for line in theirs if errors.EXCEPTION_LINE.match(line)]
    best = (raised or theirs or said or [NO_OUTPUT])[-1]
    return shortened(best.strip(), LONGEST_MESSAGE)
