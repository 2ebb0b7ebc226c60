"""One run at a time in a sandbox."""

import fcntl
import os
from pathlib import Path

from pylonyard.errors import UserError

_held: dict[Path, int] = {}


def hold(directory: Path) -> None:
    """Take the lock of the sandbox ``directory``, until this process ends.

    The kernel lets go of it when the process dies, however it dies.

    :raises zc.buildout.UserError: naming the process that holds it, or why
        there can be no lock
    """
    if directory in _held:
        return
    path = directory / ".pylonyard.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(
            f"cannot lock {directory}: {path.name}: {error.strerror}; run this as its owner"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise UserError(
            f"another run is at work in {directory} (process {holder}); wait until it has finished"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    _held[directory] = descriptor
