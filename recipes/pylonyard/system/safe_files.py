"""Read and write files that another account, or a fault, may have made anything of.

A link, a pipe or a folder of another account is refused, and damaged JSON is an error of
one line.  Standard library only.
"""

import errno
import io
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pylonyard.system.atomic import open_file, open_folder, replacing, write_draft
from pylonyard.system.errors import LOOK_FIRST, PylonyardError, ServerError


def settle_standard_files() -> None:
    """Open standard input, output and error if one is closed; let them print any character."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def finish(name: str, code: int) -> int:
    """Flush the output; return the exit status, or 1 if that fails.

    :param name: of the program, for the line that tells
    """
    try:
        sys.stdout.flush()
        return code
    except OSError as error:
        _lose_output(name, error, is_reported=not code)
        return code or 1


def tell_done(name: str, line: str) -> None:
    """Print a line about work that is done; ignore an error in printing."""
    try:
        print(line, flush=True)
    except OSError as error:
        _lose_output(name, error)


def _lose_output(name: str, error: OSError, *, is_reported: bool = True) -> None:
    # What is left would be tried again, in vain, as the process ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if is_reported and not isinstance(error, BrokenPipeError):
        print(f"{name}: cannot print: {error.strerror}", file=sys.stderr)


def make_directory(path: Path) -> None:
    """Make ``path`` and its parents, readable by the owner's group, if missing."""
    path.mkdir(mode=0o750, parents=True, exist_ok=True)


def open_plainly(path: Path, flags: int, mode: int) -> int:
    """Return a descriptor of ``path``, which has to be a regular file.

    :raises ServerError: if it is a link, a pipe, or whatever else
    :raises OSError: if it cannot be opened
    """
    try:
        descriptor = open_file(path, flags, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise not_plain(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise not_plain(path)
    os.set_blocking(descriptor, True)
    return descriptor


def read_plainly(path: Path) -> bytes:
    """Return the content of the regular file ``path``, or of the one that it links to.

    :raises ServerError: if it is another kind of thing, a pipe say
    :raises OSError: if it cannot be read
    """
    real = Path(os.path.realpath(path))
    with open(open_plainly(real, os.O_RDONLY, 0), "rb") as stream:
        return stream.read()


def not_plain(path: Path) -> ServerError:
    return ServerError(f"{path} is not a regular file, as it has to be: {LOOK_FIRST}")


def open_log(path: Path) -> int:
    """Return a descriptor that appends, also after the file was truncated.

    On a disk that the kernel lets nobody write, a site is better served without its log.
    """
    make_directory(path.parent)
    try:
        return open_plainly(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(os.devnull, os.O_WRONLY)


# Files in folders that another account may rearrange: root follows no link of theirs.
#
# Each folder on the way is opened by itself.  A link is followed where only root, or
# who we are, could have put it; elsewhere it is refused.  An ordinary account follows
# every link: it can do no more than it may.


MOST_LINKS = 40


@contextmanager
def folder(path: Path, *, make: int | None = None) -> Iterator[int]:
    """Give a descriptor of the folder ``path``.

    :param make: the mode of the folder if it is missing, those above it get 0755;
        without it none is made
    :raises FileNotFoundError: if it is missing, and not to be made
    :raises OSError: if a link of another account is on the way
    """
    descriptor = open_folder("/")
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
                inner = open_folder("/") if target.startswith("/") else os.dup(descriptor)
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
    return open_folder(name, at)


def _made(at: int, name: str, mode: int, owner: tuple[int, int] | None = None) -> bool:
    """Make a folder if it is missing; return whether it was."""
    try:
        os.mkdir(name, 0o700, dir_fd=at)
    except FileExistsError:
        return False
    inner = open_folder(name, at)
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


def make_folder(path: Path, mode: int, owner: tuple[int, int] | None = None) -> bool:
    """Make the folder ``path`` for ``owner`` (user and group); return whether it was missing.

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
            descriptor = open_file(path.name, os.O_RDONLY, at=at)
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
    with folder(path.parent, make=folder_mode) as at, replacing(at, path.name, draft):
        write_draft(at, draft, content, mode)


# Files that another account may have made anything of: a pipe, a link, a huge one.


def read_tail(path: Path, longest: int) -> tuple[str, os.stat_result]:
    """Return at most ``longest`` bytes at the end of a regular file, and its status.

    :raises ServerError: if it is another kind of thing, a link say
    :raises OSError: if it cannot be read
    """
    with open(open_plainly(path, os.O_RDONLY, 0), "rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - longest))
        text = stream.read(longest).decode(errors="replace")
        return text, os.fstat(stream.fileno())


def check_plain(path: Path) -> None:
    """Check that ``path``, if it exists, is a regular file, so that reading it cannot hang.

    :raises ServerError: if it is no regular file
    """
    if path.exists() and not path.is_file():
        raise not_plain(path)


# JSON objects; those of a newer Pylonyard, too, are an error.


class DamagedError(PylonyardError, ValueError):
    """A text is not the JSON object that it should be."""

    def __init__(self, got: str) -> None:
        super().__init__(f"expected a JSON object, got {got}")


class NewerError(PylonyardError, ValueError):
    """A newer Pylonyard wrote it."""


def json_object(content: bytes | str, newest: int | None = None) -> dict[str, Any]:
    """Return the object in a file; any other content is an error of one line.

    :param newest: the newest version that the caller reads, of what carries one
    :raises DamagedError: if it is no such object
    :raises NewerError: if its version is newer
    """
    try:
        values = json.loads(content, object_pairs_hook=_unique)
    except RecursionError:
        raise DamagedError("one that is nested too deeply") from None
    except ValueError as error:  # neither JSON nor UTF-8
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"other text: {error}") from error
    if not isinstance(values, dict):
        raise DamagedError(_KINDS.get(type(values), "a number"))
    if newest is not None:
        expect_version(values, newest)
    return values


def expect_version(values: Mapping[str, Any], newest: int) -> None:
    """Check the version of an object; a missing version is 1.

    :raises NewerError: if it is newer than ``newest``
    :raises DamagedError: if it is none
    """
    version = values.get("version", 1)
    if type(version) is not int:
        raise DamagedError(f"one with the version {version!r}")
    if version > newest:
        raise NewerError(f"version {version}, of a newer Pylonyard")


_KINDS = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; refuse one that has a key twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DamagedError(f"one that has {twice!r} twice")
    return values


def path_digest(path: Path) -> str:
    """Return a short name for what belongs to a path: a digest of it."""
    import hashlib  # Imported here: few programs need it.

    return hashlib.sha256(os.fsencode(path)).hexdigest()[:20]
