"""Write the supervisor's own lines to the site's log."""

import os
import sys
from contextlib import suppress
from datetime import datetime

PREFIX = "pylonyard:"
"""Follows the time in each of our lines, to tell them from the server's."""


def say(message: str) -> None:
    """Append one line to the log; ignore errors, since a full disk must not end a server."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{now} {PREFIX} {message}\n".encode())
