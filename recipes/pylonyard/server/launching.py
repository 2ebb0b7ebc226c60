"""A new supervisor, and what it says if its server does not come up."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pylonyard.server import environment, sight
from pylonyard.server.errors import ServerError
from pylonyard.server.files import make_directory, open_log
from pylonyard.server.processes import supervisor_marker
from pylonyard.server.settings import Settings
from pylonyard.server.supervisor import PREFIX

PACKAGES = Path(__file__).resolve().parents[2]
"""Where ``pylonyard`` is imported from."""

RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning)\b")
"""The start of a line that ends a traceback."""

LONGEST = 300
"""Characters of somebody else's message that are passed on."""


def launch(settings: Settings, progress: Callable[[], None]) -> None:
    """Start a supervisor, and wait until its server answers.

    :raises ServerError: if it does not; processes may be left then
    """
    for directory in (settings.run, settings.data, settings.application_log.parent):
        make_directory(directory)
    log = open_log(settings.log)
    try:
        before = os.fstat(log).st_size
        supervisor = spawn(settings, log)
    finally:
        os.close(log)
    deadline = time.monotonic() + settings.start_timeout
    while not sight.is_answering(settings):
        if supervisor.poll() is not None:
            raise ServerError(f"did not start: {why(settings.log, before)}")
        if time.monotonic() >= deadline:
            waited = f"{settings.address} did not answer in {settings.start_timeout} s"
            raise ServerError(f"did not start: {waited}, see {settings.log}")
        progress()
        time.sleep(sight.PAUSE)


def spawn(settings: Settings, log: int) -> subprocess.Popen[bytes]:
    """Start the supervisor, detached from the terminal and from all our files."""
    marker = supervisor_marker(settings.identity)
    return subprocess.Popen(
        [sys.executable, "-m", "pylonyard.server.supervisor", str(settings.source)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        # Python imports from the working directory first; the application's own
        # data may hold a http.py, so that the supervisor never works there.
        cwd=PACKAGES,
        env={**environment.base(os.environ), marker.variable: marker.identity},
        start_new_session=True,
        preexec_fn=lambda: environment.confine(settings),
    )


def why(log: Path, before: int) -> str:
    """Return in one line what was logged since the log had ``before`` bytes."""
    with open(log, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(before if before <= size else 0)  # it may have been rotated
        lines = stream.read().decode(errors="replace").splitlines()
    return f"{telling(lines)}, see {log}"


def telling(lines: Iterable[str]) -> str:
    """Return the line that says most: what was raised, or else what was said last."""
    said = [line.rstrip() for line in lines if line.strip()]
    theirs = [line for line in said if f" {PREFIX} " not in line]
    raised = [line for line in theirs if RAISED.match(line)]
    best = (raised or theirs or said or ["it printed nothing"])[-1]
    shown = "".join(c if c.isprintable() else "?" for c in best.strip())
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."
