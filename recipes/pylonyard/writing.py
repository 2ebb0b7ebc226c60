"""From an artifact to its file: the only module that writes into the sandbox."""

import os
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifact:
    """A file as it should be; ``path`` is relative to the release."""

    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    """A symbolic link as it should be; ``path`` is relative to the release."""

    path: str
    target: str


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def write(path: Path, content: bytes, mode: int = 0o644) -> bool:
    """Make the file equal to ``content`` and ``mode``; return whether it changed.

    Readers see the old file or the new one, never a part of one, also after a
    crash of the machine.
    """
    if _is(path, content, mode):
        return False
    directory(path.parent)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    return True


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
    if path.is_symlink() and os.readlink(path) == target:
        return False
    directory(path.parent)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as drafts:
        draft = os.path.join(drafts, "link")
        os.symlink(target, draft)
        os.replace(draft, path)
    return True


def directory(path: Path, mode: int = 0o755) -> None:
    """Make the directory, and those above it, whatever the umask."""
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
    """Write ``artifacts`` below ``root``, remove what else is there; return them."""
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
