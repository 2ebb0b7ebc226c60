"""A new supervisor, and what it says if its server does not come up."""

import errno
import os
import re
import select
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pylonyard.server import environment, status
from pylonyard.server.log import PREFIX
from pylonyard.server.settings import Settings
from pylonyard.server.sockets import close
from pylonyard.server.stop import end
from pylonyard.system import errors
from pylonyard.system.errors import ServerError
from pylonyard.system.processes import shown, supervisor_marker
from pylonyard.system.safe_files import make_directory, open_log

PACKAGES = Path(__file__).resolve().parents[2]
"""Where ``pylonyard`` is imported from."""

RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning)\b")
"""The start of a line that ends a traceback."""

MOST_READ = 65536
"""Bytes of the log's end that are looked at."""

NOTHING = "it printed nothing"

LONGEST = 300
"""Characters of somebody else's message that are passed on."""


class NotServing(ServerError):
    """A new server that does not come to serve the site."""


def launch(
    settings: Settings,
    progress: Callable[[], None],
    sockets: list[socket.socket],
    after: Sequence[int] = (),
) -> None:
    """Start a supervisor, and wait until its server serves the site.

    :param sockets: the site's; closed here afterwards
    :param after: supervisors that are to end then, and not unless
    :raises NotServing: if it does not; nothing that was started is left then
    """
    for directory in (settings.run, settings.data, settings.application_log.parent):
        make_directory(directory)
    log = open_log(settings.log)
    ours, theirs = socket.socketpair()
    with ours:
        try:
            status = os.fstat(log)
            size = status.st_size if stat.S_ISREG(status.st_mode) else None
            supervisor = spawn(settings, log, sockets, after, theirs)
        finally:
            os.close(log)
            theirs.close()
            close(sockets)
        try:
            patience = settings.start_timeout + (settings.stop_timeout if after else 0)
            await_report(settings, ours, size, patience, progress)
        except BaseException:
            end([supervisor.pid])
            raise


def await_report(
    settings: Settings,
    report: socket.socket,
    size: int | None,
    patience: float,
    progress: Callable[[], None],
) -> None:
    """Wait for the supervisor to say that its server serves the site.

    :param size: of the log before, in bytes; None if it cannot be written
    """
    deadline = time.monotonic() + patience
    while not select.select([report], [], [], status.PAUSE)[0]:
        if time.monotonic() >= deadline:
            waited = f"{settings.address} did not answer in {settings.start_timeout} s"
            raise NotServing(f"{waited}, see {settings.log}")
        progress()
    said = report.recv(1000).decode(errors="replace").strip()
    if said != "there":
        raise NotServing(f"{said}, see {settings.log}" if said else why(settings.log, size))


def spawn(
    settings: Settings,
    log: int,
    sockets: Sequence[socket.socket],
    after: Sequence[int],
    report: socket.socket,
) -> subprocess.Popen[bytes]:
    """Start the supervisor, detached from the terminal and from all our files."""
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
        # Python imports from the working directory first; the application's own
        # data may hold a http.py, so that the supervisor never works there.
        cwd=PACKAGES,
        env={**environment.base(os.environ), marker.variable: marker.identity},
        pass_fds=[*numbers, report.fileno()],
        start_new_session=True,
        preexec_fn=lambda: environment.confine(settings),
    )


def why(log: Path, before: int | None) -> str:
    """Return in one line what was logged since the log had ``before`` bytes."""
    if before is None:
        return f"it is not known why, as {log} cannot be written: {os.strerror(errno.EROFS)}"
    with open(log, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        start = before if before <= size else 0  # it may have been rotated
        stream.seek(max(start, size - MOST_READ))
        lines = stream.read().decode(errors="replace").splitlines()
    told = telling(lines) if any(map(str.strip, lines)) else NOTHING + errors.limit_of_size(size)
    return f"{errors.with_limit(told)}, see {log}"


def telling(lines: Iterable[str]) -> str:
    """Return the line that says most: what was raised, or else what was said last."""
    said = [line.rstrip() for line in lines if line.strip()]
    theirs = [line for line in said if f" {PREFIX} " not in line]
    raised = [line for line in theirs if RAISED.match(line)]
    best = (raised or theirs or said or [NOTHING])[-1]
    return shown(best.strip(), LONGEST)
