"""Whether somebody wants the site up: what ``start`` and ``stop`` last said."""

import errno
import os
import tempfile
from pathlib import Path

from pylonyard.server.errors import LOOK_FIRST, ServerError
from pylonyard.server.files import make_directory, open_plainly

UP, DOWN = "up", "down"

FULL = (errno.ENOSPC, errno.EDQUOT)


def record(path: Path, intent: str) -> None:
    """Write ``intent``, unless it is said there; a link planted at ``path`` is replaced.

    On a full disk the note is written over: that needs no new space.
    """
    before = said(path)
    if before == intent:
        return
    try:
        _replace(path, intent)
    except OSError as error:
        if error.errno not in FULL or before not in (UP, DOWN):
            raise
        _write_over(path, intent)


def _replace(path: Path, intent: str) -> None:
    if path.is_dir() and not path.is_symlink():
        raise ServerError(f"{path} is a directory, not a file: {LOOK_FIRST}")
    make_directory(path.parent)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="ascii") as stream:
            stream.write(intent + "\n")
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def _write_over(path: Path, intent: str) -> None:
    descriptor = open_plainly(path, os.O_WRONLY, 0)
    try:
        # White space takes the place of what remains of a longer word.
        os.write(descriptor, f"{intent}\n".ljust(len(DOWN) + 1).encode("ascii"))
    finally:
        os.close(descriptor)


def withdraw(path: Path) -> None:
    """Have nobody want the site up; on a full disk, a file can still be removed."""
    try:
        record(path, DOWN)
    except OSError:
        path.unlink(missing_ok=True)


def is_wanted(path: Path) -> bool:
    """Whether ``start`` was said last; anything unclear means no."""
    return said(path) == UP


def said(path: Path) -> str:
    """Return what was said last; "" if that is unclear."""
    try:
        descriptor = open_plainly(path, os.O_RDONLY, 0)
    except (OSError, ServerError):
        return ""
    try:
        return os.read(descriptor, 16).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)
