"""Files in folders that another account may rearrange: root follows no link of theirs.

Each folder on the way is opened by itself.  A link is followed where only root, or
who we are, could have put it; elsewhere it is refused.  An ordinary account follows
every link: it can do no more than it may.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS = 40


@contextmanager
def folder(path: Path, *, make: int | None = None) -> Iterator[int]:
    """Give a descriptor of the folder ``path``.

    :param make: the mode of the folder if it is missing, those above it get 0755;
        without it none is made
    :raises FileNotFoundError: if it is missing, and not to be made
    :raises OSError: if a link of another account is on the way
    """
    descriptor = os.open("/", _FOLDER)
    parts = list(reversed(path.absolute().parts[1:]))
    links = 0
    try:
        while parts:
            part = parts.pop()
            target = _target(descriptor, part, path)
            if target is not None:
                links += 1
                if links > MOST_LINKS:
                    raise OSError(errno.ELOOP, "too many links", os.fspath(path))
                parts += reversed([p for p in Path(target).parts if p != "/"])
                inner = os.open("/", _FOLDER) if target.startswith("/") else os.dup(descriptor)
            else:
                inner = _inner(descriptor, part, None if make is None else (0o755, make)[not parts])
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _target(at: int, name: str, path: Path) -> str | None:
    """Return where a link leads; None for what is none.

    :raises OSError: if another account could have put it there
    """
    try:
        status = os.lstat(name, dir_fd=at)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(status.st_mode):
        return None
    if os.geteuid() == 0 and (status.st_uid or _is_others(os.fstat(at))):
        raise OSError(errno.ELOOP, "expected a folder, got a link", os.fspath(path))
    return os.readlink(name, dir_fd=at)


def _is_others(status: os.stat_result) -> bool:
    is_open = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    return bool(status.st_uid or is_open)


def _inner(at: int, name: str, mode: int | None) -> int:
    if mode is not None:
        _made(at, name, mode)
    return os.open(name, _FOLDER, dir_fd=at)


def _made(at: int, name: str, mode: int, owner: tuple[int, int] | None = None) -> bool:
    """Make a folder, if it is missing; tell whether it was."""
    try:
        os.mkdir(name, 0o700, dir_fd=at)
    except FileExistsError:
        return False
    inner = os.open(name, _FOLDER, dir_fd=at)
    try:
        # Another may have put its own folder, or one of root's, in the place of ours.
        if os.fstat(inner).st_uid != os.geteuid() or os.listdir(inner):
            raise OSError(errno.EEXIST, "replaced while it was made", name)
        os.fchmod(inner, mode)
        if owner is not None:
            os.fchown(inner, *owner)
    finally:
        os.close(inner)
    return True


def make(path: Path, mode: int, owner: tuple[int, int] | None = None) -> bool:
    """Make the folder ``path`` for ``owner`` (user and group); tell whether it was missing.

    :raises OSError: if it cannot be made
    """
    with folder(path.parent, make=0o755) as at:
        return _made(at, path.name, mode, owner)


def read(path: Path) -> bytes | None:
    """Return what the regular file ``path`` holds; None if it is missing.

    :raises OSError: if it cannot be read, is a link, or has another name elsewhere
    """
    try:
        with folder(path.parent) as at:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path.name, flags, dir_fd=at)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or (os.geteuid() == 0 and status.st_nlink > 1):
            raise OSError(errno.EINVAL, "expected a regular file of one name", os.fspath(path))
        return stream.read()


def write(path: Path, content: bytes, mode: int, *, folder_mode: int = 0o755) -> None:
    """Make the file equal to ``content``; readers see the old one or the new one."""
    draft = f".{path.name[:100]}.{os.getpid()}"
    with folder(path.parent, make=folder_mode) as at:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=at)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(draft, flags, 0o600, dir_fd=at), "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            os.replace(draft, path.name, src_dir_fd=at, dst_dir_fd=at)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=at)
            raise
