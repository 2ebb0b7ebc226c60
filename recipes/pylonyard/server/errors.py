"""What a person can do something about: one line and an exit status."""

import sys
from pathlib import Path

from pylonyard.server import limits

FAILED = 1
USAGE = 2
NOT_PERMITTED = 4
NOT_INSTALLED = 5
NOT_CONFIGURED = 6
INTERRUPTED = 130

LOOK_FIRST = "see what it is, and move it elsewhere"
"""Advice on what is in the way, and may be somebody's."""


class ServerError(Exception):
    """An action that failed for a reason worth one line.

    ``code`` is the exit status that LSB gives to init scripts for it.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def interrupted(name: str) -> int:
    """Tell that Ctrl-C has ended a program; return its exit status."""
    print(f"{name}: interrupted", file=sys.stderr)
    return INTERRUPTED


def reason(error: OSError, place: str | Path = "") -> str:
    """Return ``error`` as "path: why", and the limit that was reached, if one was.

    :param place: the path, if the error names none
    """
    why = (error.strerror or str(error)) + limits.named(error.errno)
    where = error.filename or place
    return f"{where}: {why}" if where else why
