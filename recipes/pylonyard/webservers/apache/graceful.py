"""Wait until Apache serves with a new configuration only, as seen from outside.

At a graceful restart Apache reads its configuration, says in its log that it has
("resuming normal operations"), and starts children that serve by it one after another, as
those before them end.  Until then those accept requests, too: a child that has only just
been started does so before it looks whether it has to end.
"""

import os
import re
import time
from datetime import datetime
from pathlib import Path

from pylonyard.system import listeners
from pylonyard.system.errors import ServerError
from pylonyard.system.processes import children, started
from pylonyard.system.safe_files import open_plainly

LEAVE_PATIENCE = 5.0
"""Seconds until children with the old configuration accept no more requests.

Those of ``mpm_prefork`` keep their sockets till they have answered the last one.
"""

TICK = 0.01
"""Seconds: the kernel gives the start of a process in hundredths, rounded down."""

LONGEST = 1_000_000
"""Bytes that a log may grow before Apache's line about its configuration."""

_RESUMED = re.compile(rb"(?m)^\[\w+ (\w+ +\d+ [\d:]+\.\d+ \d+)\].*resuming normal operations")


class Handover:
    """The state of an Apache before a reload.

    :param process: Apache's own process
    :param log: its error log; its configuration may name another, or none
    """

    def __init__(self, process: int, log: Path) -> None:
        self._process = process
        self._sockets = {one.inode for one in listeners.of_processes([process])}
        real = Path(os.path.realpath(log))
        self._log = real if str(real) in listeners.open_files(process) else None
        self._end = real.stat().st_size if self._log else 0
        self._began = time.time()
        self._since: float | None = None
        self._old: set[int] = set()

    def wait(self, seconds: float) -> bool:
        """Wait until only the new configuration is used; return whether it is.

        :param seconds: until the first child that serves by it is there
        """
        deadline = time.monotonic() + seconds
        while not self.has_begun():
            if started(self._process) is None or time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        deadline = time.monotonic() + LEAVE_PATIENCE
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(0.02)
        return True

    def has_begun(self) -> bool:
        """Return whether there is a child that serves by the new configuration."""
        present = children([self._process])
        self._since = self._since or self._resumed()
        if self._since is None:
            self._old.update(present)
            return False
        return any(map(self._is_new, present))

    def has_ended(self) -> bool:
        """Return whether no child of the configuration before accepts requests any more."""
        old = [child for child in children([self._process]) if not self._is_new(child)]
        return not listeners.holders(self._sockets, old)

    def _is_new(self, child: int) -> bool:
        has_started = (started(child) or 0) + TICK >= (self._since or self._began)
        return has_started and child not in self._old

    def _resumed(self) -> float | None:
        """Return when Apache had read its configuration, in seconds since 1970.

        If its log does not tell, it is taken to do so when it is told to.
        """
        if self._log is None:
            return self._began
        try:
            # The log of a private Apache is where an account can put other things.
            with open(open_plainly(self._log, os.O_RDONLY, 0), "rb") as stream:
                stream.seek(self._end)
                found = _RESUMED.search(stream.read(LONGEST))
        except (OSError, ServerError):
            return self._began
        return found and datetime.strptime(found[1].decode(), "%b %d %H:%M:%S.%f %Y").timestamp()
