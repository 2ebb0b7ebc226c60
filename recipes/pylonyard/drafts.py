"""Drafts: folders of a store in which something is made before it is renamed into place.

A store may be shared by many sandboxes, so a draft is held by a lock of the
kernel for as long as the run lives that made it.  One that nobody holds was left
by a killed run, and is removed.  Standard library only: ``bootstrap.py`` imports this
before anything is installed.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".draft-"
USE = ".use.lock"

UNWRITABLE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
    }
)
"""What the machine says of a place that cannot be written, whatever is to be written."""

_uses: dict[Path, int] = {}


@contextmanager
def draft(store: Path) -> Iterator[Path]:
    """Give a new folder in ``store``, which is made if need be; it is gone afterwards.

    What killed runs left there is removed first.

    :raises OSError: if ``store`` cannot be written
    """
    store.mkdir(parents=True, exist_ok=True)
    sweep(store)
    folder, descriptor = _held(store)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def sweep(store: Path) -> list[Path]:
    """Remove the drafts in ``store`` that no living run holds; return them.

    What cannot be removed, as in a store of another account, is left.
    """
    removed = []
    for found in sorted(store.glob(f"{PREFIX}*")):
        try:
            descriptor = os.open(found, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(found, ignore_errors=True)
            removed.append(found)
        except OSError:
            pass  # Held by a run that lives; or the file system has no locks.
        finally:
            os.close(descriptor)
    return removed


def _held(store: Path) -> tuple[Path, int]:
    """Return a new draft, and the descriptor that holds it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=store))
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            return folder, descriptor  # No locks here: then nobody sweeps it either.
        # Another run may have swept it before it was held.
        if folder.exists():
            return folder, descriptor
        os.close(descriptor)


def use(cache: Path) -> None:
    """Keep others from cleaning ``cache`` until this process ends.

    Waits while somebody cleans it.  A cache that we can neither lock nor write
    is used all the same.
    """
    if cache in _uses:
        return
    descriptor = _lock_file(cache)
    if descriptor is not None:
        # Kept over exec: bootstrap.py becomes bin/buildout.
        os.set_inheritable(descriptor, True)
        _lock(descriptor, fcntl.LOCK_SH)
        _uses[cache] = descriptor


@contextmanager
def alone(cache: Path) -> Iterator[bool]:
    """Keep others from using ``cache``; give whether that could be had at once."""
    descriptor = _lock_file(cache)
    try:
        yield descriptor is not None and _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock_file(cache: Path) -> int | None:
    path = cache / USE
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError:
        pass
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        return False
    return True
