"""Write files and folders atomically: they are made under another name, then renamed.

A store may be shared by many sandboxes, so a draft is held by a lock of the
kernel for as long as the run lives that made it.  One that nobody holds was left
by a killed run, and is removed.  Standard library only: ``bootstrap.py`` imports this
before anything is installed.  What only drafts need is imported there: each command of a site
imports this.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

PREFIX = ".draft-"

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
"""Errors of a folder that cannot be written at all."""


@contextmanager
def draft(store: Path) -> Iterator[Path]:
    """Make a temporary folder in ``store``; it is removed after the block.

    What killed runs left there is removed first.

    :raises OSError: if ``store`` cannot be written
    """
    import shutil

    store.mkdir(parents=True, exist_ok=True)
    sweep(store)
    folder, descriptor = _locked_folder(store)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def sweep(store: Path) -> list[Path]:
    """Remove the temporary folders in ``store`` that no running process holds; return them.

    What cannot be removed, as in a store of another account, is left.
    """
    import shutil

    removed = []
    for found in sorted(store.glob(f"{PREFIX}*")):
        try:
            descriptor = open_folder(found)
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


def _locked_folder(store: Path) -> tuple[Path, int]:
    """Return a new temporary folder, and the descriptor of its lock."""
    import tempfile

    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=store))
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            return (
                folder,
                descriptor,
            )  # Without locks on this file system, no draft is swept either.
        # Another run may have swept it before it was held.
        if folder.exists():
            return folder, descriptor
        os.close(descriptor)


# From an artifact to its file in parts/.


class Artifact(NamedTuple):
    """A file as it should be; ``path`` is relative to the release."""

    path: str
    text: str
    mode: int = 0o644


class Link(NamedTuple):
    """A symbolic link as it should be; ``path`` is relative to the release."""

    path: str
    target: str


def publish(draft: Path, place: Path) -> bool:
    """Rename a complete folder to ``place``; return False if another process was faster.

    :raises OSError: if it cannot be renamed, and no folder is there
    """
    try:
        draft.rename(place)
    except OSError:
        if not place.is_dir():
            raise
        return False
    return True


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def write(path: Path, content: bytes, mode: int = 0o644, *, durable: bool = True) -> bool:
    """Make the file equal to ``content`` and ``mode``; return whether it changed.

    :param durable: see :func:`writing`
    :raises OSError: naming ``path``
    """
    if _is(path, content, mode):
        return False
    directory(path.parent)
    with writing(path, mode, durable=durable) as stream:
        stream.write(content)
    return True


@contextmanager
def writing(path: Path, mode: int = 0o644, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Yield a stream whose content replaces the file ``path`` at the end, if nothing fails.

    Readers see the old file or the new one, never a part of one.

    :param durable: whether that holds after a crash of the machine, too: what is made
        again, or repaired, need not wait for the disk
    :raises OSError: naming ``path``
    """
    import tempfile

    draft = ""
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        with open(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if durable:
                os.fsync(stream.fileno())
        os.replace(draft, path)
    except BaseException as error:
        if draft:
            os.unlink(draft)
        if isinstance(error, OSError):
            error.filename = os.fspath(path)  # A full disk has none, and a draft's tells nothing.
        raise


def _is(path: Path, content: bytes, mode: int) -> bool:
    try:
        status = path.lstat()
        return (
            stat.S_ISREG(status.st_mode)
            and stat.S_IMODE(status.st_mode) == mode
            and status.st_size == len(content)
            and path.read_bytes() == content
        )
    except OSError:
        return False


def link(path: Path, target: str) -> bool:
    """Make ``path`` a symbolic link to ``target``; return whether it changed."""
    import tempfile

    if path.is_symlink() and os.readlink(path) == target:
        return False
    directory(path.parent)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as drafts:
        draft = os.path.join(drafts, "link")
        os.symlink(target, draft)
        os.replace(draft, path)
    return True


def directory(path: Path, mode: int = 0o755) -> None:
    """Make the directory and its parents, with modes that do not depend on the umask."""
    if path.is_dir():
        return
    directory(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    path.chmod(mode)


def stage(root: Path, artifacts: Iterable[Artifact | Link]) -> list[Path]:
    """Write ``artifacts`` below ``root``, and remove other files there; return them."""
    wanted = {}
    for artifact in artifacts:
        path = root / artifact.path
        wanted[path] = artifact
        if isinstance(artifact, Link):
            link(path, artifact.target)
        else:
            write(path, artifact.text.encode(), artifact.mode)
    for found in list(files_below(root)):
        if found not in wanted:
            found.unlink()
    return list(wanted)


def files_below(root: Path) -> Iterable[Path]:
    """Yield every file and link below ``root``, in a stable order."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*names, *links]):
            yield Path(folder, name)


# In an open folder, without following a link; the caller opens each folder on the way.


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
