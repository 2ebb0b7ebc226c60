"""Whether somebody wants the site up: what ``start`` and ``stop`` last said."""

import os
import tempfile
from pathlib import Path

from pylonyard.server.errors import ServerError
from pylonyard.server.files import make_directory, open_plainly

UP, DOWN = "up", "down"


def record(path: Path, intent: str) -> None:
    """Write ``intent``; a link planted at ``path`` is replaced, not followed."""
    if path.is_dir() and not path.is_symlink():
        raise ServerError(f"{path} is a directory, not a file: remove it")
    make_directory(path.parent)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="ascii") as stream:
            stream.write(intent + "\n")
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def withdraw(path: Path) -> None:
    """Have nobody want the site up; on a full disk, a file can still be removed."""
    try:
        record(path, DOWN)
    except OSError:
        path.unlink(missing_ok=True)


def is_wanted(path: Path) -> bool:
    """Whether ``start`` was said last; anything unclear means no."""
    try:
        descriptor = open_plainly(path, os.O_RDONLY, 0)
    except (OSError, ServerError):
        return False
    try:
        return os.read(descriptor, 16).strip() == UP.encode()
    finally:
        os.close(descriptor)
