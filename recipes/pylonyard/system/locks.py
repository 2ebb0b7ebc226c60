"""Locks: one run in a sandbox, one action for a site, no cleaning of a cache in use."""

import contextlib
import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pylonyard.system.errors import ServerError, UserError
from pylonyard.system.safe_files import make_directory, open_plainly

PATIENCE = 1.0
"""Seconds to wait until the holder has written its name."""

CACHE_LOCK = ".use.lock"
"""The lock of a cache: shared by users, exclusive for cleaning."""


class Locks:
    """The locks that a process holds until it ends, each once.

    The kernel lets go of them when the process dies, however it dies.
    """

    def __init__(self) -> None:
        self.held: dict[Path, int] = {}
        """The descriptor of the lock of each sandbox or cache."""

    def hold_sandbox(self, directory: Path) -> None:
        """Take the lock of the sandbox ``directory``.

        :raises UserError: naming the process that holds it, or why there can be no lock
        """
        if directory in self.held:
            return
        path = directory / ".pylonyard.lock"
        try:
            descriptor = open_plainly(path, os.O_RDWR | os.O_CREAT, 0o600)
        except ServerError as error:
            raise UserError(f"cannot lock {directory}: {error}") from error
        except OSError as error:
            why = f"{path.name}: {error.strerror}; run this as its owner"
            raise UserError(f"cannot lock {directory}: {why}") from error
        if not _is_locked(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
            who = _holder(descriptor)
            os.close(descriptor)
            raise UserError(
                f"another run is at work in {directory} ({who}); wait until it has finished"
            )
        _write_holder(descriptor)
        self.held[directory] = descriptor

    def share_cache(self, cache: Path) -> None:
        """Keep others from cleaning ``cache``; wait while somebody cleans it.

        A cache that we can neither lock nor write is used all the same.
        """
        if cache in self.held:
            return
        descriptor = _open_cache_lock(cache)
        if descriptor is not None:
            # Kept over exec: bootstrap.py becomes bin/buildout.
            os.set_inheritable(descriptor, True)
            _is_locked(descriptor, fcntl.LOCK_SH)
            self.held[cache] = descriptor


@contextmanager
def lock_cache_alone(cache: Path) -> Iterator[bool]:
    """Keep others from using ``cache``; yield whether the lock was free."""
    descriptor = _open_cache_lock(cache)
    try:
        yield descriptor is not None and _is_locked(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """Wait for the lock ``path``, which all who share a cache may open, and hold it."""
    descriptor = open_plainly(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_cache_lock(cache: Path) -> int | None:
    path = cache / CACHE_LOCK
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with suppress(OSError, ServerError):
            cache.mkdir(parents=True, exist_ok=True)
            return open_plainly(path, flags, 0o644)
    return None


def _is_locked(descriptor: int, how: int) -> bool:
    """Take a lock; return False if somebody has it, or the file system has no locks."""
    try:
        return try_lock(descriptor, how)
    except OSError:
        return False


def _write_holder(descriptor: int) -> None:
    """Write the holder of the lock, for messages only; ignore a full disk."""
    # name=value may contain a secret: leave it out.
    words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
    command = " ".join(word for word in words if "=" not in word and word.isprintable())
    text = f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}: {command[:80]}\n"
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(errors="replace"), 0)


def _holder(descriptor: int) -> str:
    """Return the name of the holder, once it has replaced that of the previous one."""
    deadline = time.monotonic() + PATIENCE
    while True:
        line = os.pread(descriptor, 200, 0).decode(errors="replace").partition("\n")[0]
        if line.startswith("process ") and _is_running(line.split()[1].rstrip(",")):
            return line
        if time.monotonic() > deadline:
            return "an unknown process"
        time.sleep(0.01)


def _is_running(number: str) -> bool:
    return number.isdigit() and os.path.exists(f"/proc/{number}")


# One action at a time for a site, whether a person or the machine calls it.


PAUSE = 0.05
"""Seconds between two tries."""


class BusyError(ServerError):
    """Another action on the site has not ended in time."""


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
        descriptor = open_lock(path)
        if try_lock(descriptor) and is_same_file(path, descriptor):
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


def open_lock(path: Path) -> int:
    try:
        return open_plainly(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # On a read-only disk an existing lock file can still be locked.
        return open_plainly(path, os.O_RDONLY, 0)


def try_lock(descriptor: int, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> bool:
    """Take a lock; return False if somebody has it.

    :raises OSError: if the file system has no locks
    """
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True


def is_same_file(path: Path, descriptor: int) -> bool:
    """Return whether ``path`` was not removed, or replaced, while we waited."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
