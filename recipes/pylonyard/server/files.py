"""Files in ``var``, opened so that a planted link or pipe harms nothing."""

import errno
import io
import os
import stat
import sys
from pathlib import Path

from pylonyard.server.errors import LOOK_FIRST, ServerError


def settle_standard_files() -> None:
    """Have all three, so that no file of ours is taken for one; and tell any character."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def finish(name: str, code: int) -> int:
    """Have all that was printed written; return the exit status, 1 if that cannot be.

    :param name: of the program, for the line that tells
    """
    try:
        sys.stdout.flush()
        return code
    except OSError as error:
        _lose_output(name, error, is_told=not code)
        return code or 1


def tell_done(name: str, line: str) -> None:
    """Print a line about what is done already, which is no failure if that cannot be."""
    try:
        print(line, flush=True)
    except OSError as error:
        _lose_output(name, error)


def _lose_output(name: str, error: OSError, *, is_told: bool = True) -> None:
    # What is left would be tried again, in vain, as the process ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if is_told and not isinstance(error, BrokenPipeError):
        print(f"{name}: cannot print: {error.strerror}", file=sys.stderr)


def make_directory(path: Path) -> None:
    """Make ``path`` and its parents, readable by the owner's group, if missing."""
    path.mkdir(mode=0o750, parents=True, exist_ok=True)


def open_plainly(path: Path, flags: int, mode: int) -> int:
    """Return a descriptor of ``path``, which has to be a regular file.

    :raises ServerError: if it is a link, a pipe, or whatever else
    :raises OSError: if it cannot be opened
    """
    # O_NONBLOCK: opening a pipe that nobody reads would wait for ever.
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise not_plain(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise not_plain(path)
    os.set_blocking(descriptor, True)
    return descriptor


def read_plainly(path: Path) -> bytes:
    """Return what the regular file ``path``, or the one that a link there names, holds.

    :raises ServerError: if it is another kind of thing, a pipe say
    :raises OSError: if it cannot be read
    """
    real = Path(os.path.realpath(path))
    with open(open_plainly(real, os.O_RDONLY, 0), "rb") as stream:
        return stream.read()


def not_plain(path: Path) -> ServerError:
    return ServerError(f"{path} is not a regular file, as it has to be: {LOOK_FIRST}")


def open_log(path: Path) -> int:
    """Return a descriptor that appends, also after the file was truncated.

    On a disk that the kernel lets nobody write, a site is better served without its log.
    """
    make_directory(path.parent)
    try:
        return open_plainly(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(os.devnull, os.O_WRONLY)
