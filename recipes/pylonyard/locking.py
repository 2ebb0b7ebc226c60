"""One run at a time in a sandbox."""

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path

from pylonyard.errors import UserError

_held: dict[Path, int] = {}

PATIENCE = 1.0
"""Seconds that a holder may take to say who it is."""


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
        who = _holder(descriptor)
        os.close(descriptor)
        raise UserError(
            f"another run is at work in {directory} ({who}); wait until it has finished"
        ) from None
    _sign(descriptor)
    _held[directory] = descriptor


def _sign(descriptor: int) -> None:
    """Write down who holds the lock, for messages alone; a full disk takes nothing."""
    # A word with a value may hold what is nobody's business.
    words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
    command = " ".join(word for word in words if "=" not in word and word.isprintable())
    text = f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}: {command[:80]}\n"
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(errors="replace"), 0)


def _holder(descriptor: int) -> str:
    """Return what the holder says of itself, once it is not its predecessor's any more."""
    deadline = time.monotonic() + PATIENCE
    while True:
        told = os.pread(descriptor, 200, 0).decode(errors="replace").partition("\n")[0]
        if told.startswith("process ") and _lives(told.split()[1].rstrip(",")):
            return told
        if time.monotonic() > deadline:
            return "a process that does not say which"
        time.sleep(0.01)


def _lives(number: str) -> bool:
    return number.isdigit() and os.path.exists(f"/proc/{number}")
