"""Read and write files and accounts below a root folder, without following links.

Names are as on the machine, ``/etc/cron.d/shop``; ``Tree(root)`` puts them below
``root``.  Every folder on the way is opened by itself, so that a link which
somebody plants is refused, not followed.
"""

import base64
import contextlib
import errno
import grp
import hashlib
import os
import pwd
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.system import atomic
from pylonyard.system.errors import LOOK_FIRST, ActivationError

# What is at a path: nothing, a file, a link or a folder.


@dataclass(frozen=True)
class Entry:
    """``kind`` is ``absent``, ``file``, ``link`` or ``folder``."""

    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    content: bytes = b""
    """The content of a file; the target of a link."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def to_json(self) -> dict[str, Any]:
        if self.kind == "absent":
            return {"kind": self.kind}
        content = base64.b64encode(self.content).decode()
        return {
            "kind": self.kind,
            "mode": f"{self.mode:04o}",
            "uid": self.uid,
            "gid": self.gid,
            "content": content,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Entry":
        if values["kind"] == "absent":
            return ABSENT
        content = base64.b64decode(values["content"])
        mode = int(values["mode"], 8)
        return cls(values["kind"], mode, int(values["uid"]), int(values["gid"]), content)


ABSENT = Entry("absent")


@dataclass(frozen=True)
class Change:
    """A path before and after a step."""

    before: Entry
    after: Entry

    @property
    def makes_folder(self) -> bool:
        """Return whether a folder was made, which is removed if it is empty."""
        return self.before == ABSENT and self.after.kind == "folder"

    @property
    def reversed(self) -> "Change":
        return Change(self.after, self.before)


Changes = Mapping[str, Change]


def merged(older: Changes, newer: Changes) -> dict[str, Change]:
    """Return both changes as one, without paths that are as they were at first."""
    result = dict(older)
    for name, change in newer.items():
        before = result[name].before if name in result else change.before
        result[name] = Change(before, change.after)
        if before == change.after:
            del result[name]
    return result


def difference(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> dict[str, Change]:
    """Return the changes between two snapshots of the same paths."""
    names = sorted({*before, *after})
    pairs = {name: Change(before.get(name, ABSENT), after.get(name, ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair.before != pair.after}


_DRAFT = ".pylonyard-draft"


@dataclass(frozen=True)
class Tree:
    """The machine's files, or those of a scratch tree."""

    root: Path

    @property
    def is_machine(self) -> bool:
        return self.root == Path("/")

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    @contextmanager
    def folder(self, name: str, *, make: bool = False) -> Iterator[int]:
        """Open the folder ``name``; yield its descriptor.

        :param make: whether to make what is missing
        :raises FileNotFoundError: if it is missing
        :raises ActivationError: if a link, or a stranger's folder, is on the way
        """
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        way = ""
        try:
            for part in Path(name).parts[1:]:
                way += f"/{part}"
                if make:
                    _make(descriptor, part)
                inner = self._step(descriptor, part, way)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)

    def _step(self, folder: int, part: str, way: str) -> int:
        try:
            inner = atomic.open_folder(part, folder)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise ActivationError(
                    f"{self.path(way)}: expected a folder, got {_instead(folder, part)}"
                ) from None
            raise
        problem, remedy = _foreign(os.fstat(inner))
        if problem:
            os.close(inner)
            place = shlex.quote(str(self.path(way)))
            raise ActivationError(
                f"{self.path(way)}: {problem}, and root would write there; see what is in it, "
                f"then: {remedy} {place}"
            )
        return inner

    def read(self, name: str) -> Entry:
        """Return what is at ``name``; a link is not followed."""
        try:
            with self.folder(os.path.dirname(name)) as folder:
                return _read(folder, os.path.basename(name))
        except FileNotFoundError:
            return ABSENT

    def put(self, name: str, entry: Entry) -> None:
        """Make ``name`` as ``entry`` says; readers see the old or the new."""
        last = os.path.basename(name)
        if entry.kind == "absent":
            with contextlib.suppress(FileNotFoundError), self.folder(os.path.dirname(name)) as at:
                _remove(at, last)
            return
        with self.folder(os.path.dirname(name), make=True) as at:
            if entry.kind == "folder":
                _make(at, last)
                os.chmod(last, entry.mode, dir_fd=at)
            else:
                self._replace(at, name, entry)
            os.fsync(at)

    def _replace(self, at: int, name: str, entry: Entry) -> None:
        last = os.path.basename(name)
        if _read(at, last).kind == "folder":
            raise ActivationError(f"{self.path(name)}: expected a file, got a folder; {LOOK_FIRST}")
        draft = os.path.basename(draft_of(name))
        with atomic.replacing(at, last, draft):
            if entry.kind == "link":
                os.symlink(entry.content, draft, dir_fd=at)
            else:
                owner = (entry.uid, entry.gid) if os.geteuid() == 0 else None
                atomic.write_draft(at, draft, entry.content, entry.mode, owner)

    def snapshot(self, names: Iterable[str]) -> dict[str, Entry]:
        """Return what is at ``names``, and below those of them that are folders."""
        found: dict[str, Entry] = {}
        for name in names:
            top = self.topmost_missing(name)
            found[top] = self.read(top)
            if found[top].kind == "folder":
                found.update(self._below(top))
        return found

    def topmost_missing(self, name: str) -> str:
        """Return the first folder on the way to ``name`` that is missing, or ``name``."""
        for parent in reversed(Path(name).parents):
            if str(parent) != "/" and self.read(str(parent)) == ABSENT:
                return str(parent)
        return name

    def _below(self, name: str) -> dict[str, Entry]:
        found = {}
        for last in self.names(name):
            inner = f"{name}/{last}"
            found[inner] = self.read(inner)
            if found[inner].kind == "folder":
                found.update(self._below(inner))
        return found

    def names(self, name: str) -> list[str]:
        """Return what is in the folder ``name``; nothing if it is missing."""
        try:
            with self.folder(name) as folder:
                return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []


def draft_of(name: str) -> str:
    """Return the path of the temporary file that replaces ``name``."""
    folder, last = os.path.split(name)
    return os.path.join(folder, f".{last[:100]}{_DRAFT}")


def is_draft(name: str) -> bool:
    return name.endswith(_DRAFT)


def _instead(folder: int, name: str) -> str:
    """Return the message about a file in the place of a folder."""
    if stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode):
        return (
            "a link; root does not write through links. Replace it by a folder of root's and "
            "bind-mount the target there"
        )
    return f"a file; {LOOK_FIRST}"


def _foreign(status: os.stat_result) -> tuple[str, str]:
    """Return why a folder is not safe to write into, and what helps; empty if it is."""
    if status.st_uid not in (0, os.geteuid()):
        return f"it belongs to the account of number {status.st_uid}", "chown root"
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return "everybody may write into it", "chmod o-w"
    return "", ""


def _make(folder: int, name: str) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return
    os.chmod(name, 0o755, dir_fd=folder)


def _read(folder: int, name: str) -> Entry:
    try:
        status = os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return ABSENT
    if stat.S_ISLNK(status.st_mode):
        return Entry("link", content=os.fsencode(os.readlink(name, dir_fd=folder)))
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return Entry("folder", mode, status.st_uid, status.st_gid)
    with open(atomic.open_file(name, os.O_RDONLY, at=folder), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            place = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
            raise ActivationError(f"{place}: expected a regular file; {LOOK_FIRST}")
        return Entry("file", mode, status.st_uid, status.st_gid, stream.read())


def _remove(folder: int, name: str) -> None:
    if _read(folder, name).kind == "folder":
        with contextlib.suppress(OSError):  # others have put something there
            os.rmdir(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)
    os.fsync(folder)


@dataclass(frozen=True)
class Account:
    """An account; its ``uid`` is -1 if it does not exist."""

    name: str
    uid: int
    gid: int
    group: str
    groups: frozenset[int]


@dataclass(frozen=True)
class Permissions:
    """Owner, group and mode of a folder or file."""

    mode: int
    uid: int
    gid: int
    is_folder: bool = True


def account(tree: Tree, name: str) -> Account:
    """Return an account of ``tree``, of the machine's own if the tree has none.

    The machine may have accounts and groups that are in no file: of a directory, say.
    """
    if tree.is_machine:
        return _machine_account(name)
    users = [line.split(":") for line in _lines(tree, "/etc/passwd")]
    groups = [line.split(":") for line in _lines(tree, "/etc/group")]
    for user in users:
        if user[0] == name and len(user) > 3:
            uid, gid = int(user[2]), int(user[3])
            own = next((g[0] for g in groups if len(g) > 2 and g[2] == str(gid)), str(gid))
            more = {int(g[2]) for g in groups if len(g) > 3 and name in g[3].strip().split(",")}
            return Account(name, uid, gid, own, frozenset({gid, *more}))
    return _machine_account(name) if not users else Account(name, -1, -1, "", frozenset())


def _machine_account(name: str) -> Account:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return Account(name, -1, -1, "", frozenset())
    try:
        group = grp.getgrgid(entry.pw_gid).gr_name
    except KeyError:
        group = str(entry.pw_gid)
    groups = frozenset(os.getgrouplist(name, entry.pw_gid))
    return Account(name, entry.pw_uid, entry.pw_gid, group, groups)


def _lines(tree: Tree, name: str) -> list[str]:
    return tree.read(name).content.decode(errors="replace").splitlines()


SEARCH, WRITE = 0o1, 0o3
"""Bits of one class: to pass through a folder; to make files in it."""


def bits_of(who: Account, folder: Permissions) -> int:
    """Return what ``who`` may do: bits 4 (read), 2 (write), 1 (search)."""
    if who.uid == 0:
        return 0o7
    if who.uid == folder.uid:
        return folder.mode >> 6 & 0o7
    return (folder.mode >> 3 if folder.gid in who.groups else folder.mode) & 0o7
