"""One action at a time for a site, whoever calls it."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pylonyard.server.errors import ServerError
from pylonyard.server.files import make_directory, open_plainly

PAUSE = 0.05
"""Seconds between two tries."""


class BusyError(ServerError):
    """Somebody else acts on the site, and has not ended in time."""


@contextmanager
def exclusive(path: Path, wait: float) -> Iterator[None]:
    """Hold the lock ``path`` for the block, after at most ``wait`` seconds.

    The kernel drops the lock when its holder ends, however it ends.

    :raises BusyError: naming the process that has it
    :raises ServerError: if ``path`` is no regular file
    """
    make_directory(path.parent)
    descriptor = acquire(path, time.monotonic() + wait, wait)
    try:
        yield
    finally:
        os.close(descriptor)


def acquire(path: Path, deadline: float, wait: float) -> int:
    while True:
        descriptor = opened(path)
        if try_lock(descriptor) and is_still(path, descriptor):
            # For the message alone: nothing is ever done to the process it names.
            with suppress(OSError):  # the disk is full
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor
        holder = os.pread(descriptor, 20, 0).decode(errors="replace")
        os.close(descriptor)
        if time.monotonic() >= deadline:
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise BusyError(f"{who} is starting or stopping it, waited {wait:g} s")
        time.sleep(PAUSE)


def opened(path: Path) -> int:
    try:
        return open_plainly(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # The kernel has nobody write to a disk that fails; what is there can be locked.
        return open_plainly(path, os.O_RDONLY, 0)


def try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_still(path: Path, descriptor: int) -> bool:
    """Whether ``path`` was not removed, or replaced, while we waited."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
