"""What a person can do something about: one line and an exit status."""

import errno
import resource
import sys

FAILED = 1
USAGE = 2
NOT_PERMITTED = 4
NOT_INSTALLED = 5
NOT_CONFIGURED = 6
INTERRUPTED = 130


LIMITS = {
    errno.EAGAIN: ("processes, ulimit -u", resource.RLIMIT_NPROC),
    errno.EMFILE: ("open files, ulimit -n", resource.RLIMIT_NOFILE),
    errno.ENOMEM: ("memory, ulimit -v", resource.RLIMIT_AS),
    errno.EFBIG: ("the size of a file, ulimit -f", resource.RLIMIT_FSIZE),
}
"""By the error of a system call: the limit that it tells of."""


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


def reason(error: OSError) -> str:
    """Return ``error`` as "path: why", as far as it says so."""
    why = (error.strerror or str(error)) + _limit(error.errno)
    return f"{error.filename}: {why}" if error.filename else why


def _limit(number: int | None) -> str:
    """Return which limit of this process was reached, if an error tells of one."""
    if number not in LIMITS:
        return ""
    what, kind = LIMITS[number]
    value = resource.getrlimit(kind)[0]
    most = "none" if value == resource.RLIM_INFINITY else str(value)
    return f" (limit of {what}: {most}; the machine, or a container, may have a lower one)"
