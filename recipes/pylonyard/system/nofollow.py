"""Open and replace files in an open folder, without following a link in their place.

The caller opens each folder on the way.  Standard library only, and few modules of it: each
command of a site imports this.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def open_file(name: str | Path, flags: int, mode: int = 0o600, at: int | None = None) -> int:
    """Return a descriptor of a file, without following a link in its place.

    It may be a device or a pipe, which is opened without waiting for its other end.

    :param at: the open folder that ``name`` is in
    :raises OSError: if it cannot be opened, or is a link
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(name, flags, mode, dir_fd=at)


def open_folder(name: str | Path, at: int | None = None) -> int:
    """Return a descriptor of a folder, without following a link in its place.

    :param at: the open folder that ``name`` is in
    :raises OSError: if it cannot be opened, or is a link, or no folder
    """
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)


@contextmanager
def replacing(at: int, name: str, draft: str) -> Iterator[None]:
    """Rename ``draft`` to ``name`` after the block, in the open folder ``at``.

    If the block fails, the draft is removed; one that a killed run left, beforehand.
    """
    with suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=at)
    try:
        yield
        os.replace(draft, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft, dir_fd=at)
        raise


def write_draft(
    at: int, name: str, content: bytes, mode: int, owner: tuple[int, int] | None = None
) -> None:
    """Write a new file in the open folder ``at``, down to the disk.

    :param owner: user and group, if not ours
    :raises OSError: if it cannot be written, or something has that name
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(open_file(name, flags, at=at), "wb") as stream:
        stream.write(content)
        stream.flush()
        if owner is not None:
            os.fchown(stream.fileno(), *owner)
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())
