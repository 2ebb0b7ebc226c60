"""What an account may read, write and pass; where it may not, the command that mends it."""

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pylonyard.system import accounts
from pylonyard.system.rootfs import Account, Folder, bits_of

READ, WRITE, SEARCH = 4, 2, 1
MOST = 20000
"""Files that are looked at, of the code or of one folder of the data."""

PAGE = "docs/on-a-real-server.rst"

Skip = Callable[[Path], bool]


@dataclass(frozen=True)
class Hindrance:
    """What an account cannot do, ``read /x`` say, and what helps."""

    what: str
    advice: str


class Reach:
    """What ``who`` may do; each folder on the way to files is looked at once."""

    def __init__(self, who: Account) -> None:
        self.who = who
        self.left = MOST
        self.is_cut = False
        """True if there was more to look at than ``MOST`` files."""
        self._passed: set[Path] = set()

    def may(self, path: Path, bits: int, status: os.stat_result | None = None) -> bool:
        status = status or path.stat()
        folder = Folder(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        return bits & ~bits_of(self.who, folder) == 0

    def closed(self, path: Path) -> Iterator[Hindrance]:
        """Yield each folder above ``path``, which has no link in it, that cannot be passed."""
        for folder in reversed(path.parents):
            if folder not in self._passed and not self.may(folder, SEARCH):
                yield Hindrance(f"enter {folder}", self.opening(folder, "x"))
            self._passed.add(folder)

    def unread(self, path: Path, *, only_pass: bool = False) -> Iterator[Hindrance]:
        """Yield what hinders from reading ``path``.

        :raises PermissionError: if we may not look ourselves
        """
        try:
            real = path.resolve(strict=True)
        except PermissionError:
            raise
        except OSError as error:
            yield Hindrance(f"read {path}: {error.strerror}", "bin/buildout")
            return
        yield from self.closed(real)
        if not only_pass and not self.may(real, READ):
            yield Hindrance(f"read {real}", self.opening(real, "r"))

    def unread_below(self, top: Path, skip: Skip) -> Iterator[Hindrance]:
        """Yield what hinders from reading ``top``, a file or a folder, and all in it."""
        for path, status in self._below(top, skip):
            is_folder = stat.S_ISDIR(status.st_mode)
            if not self.may(path, READ | SEARCH if is_folder else READ, status):
                letters = "rX" if is_folder else "r"
                yield Hindrance(f"read {path}", self.opening(path, letters, whole=is_folder))

    def unwritten_below(self, top: Path, bits: int, skip: Skip) -> Iterator[tuple[Path, str]]:
        """Yield what is below ``top`` and cannot be written, or read, and which of these.

        An account's own files at some depth are as it made them, read-only perhaps.

        :param bits: what files need; a folder needs all
        """
        for path, status in self._below(top, skip):
            wanted = bits
            if stat.S_ISDIR(status.st_mode):
                wanted = READ | WRITE | SEARCH
            elif status.st_uid == self.who.uid and path.parent != top:
                wanted = READ
            is_plain = stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
            if is_plain and not self.may(path, wanted, status):
                yield path, "write" if wanted & WRITE else "read"

    def _below(self, top: Path, skip: Skip) -> Iterator[tuple[Path, os.stat_result]]:
        for found in below(top, skip):
            if not self.left:
                self.is_cut = True
                return
            self.left -= 1
            yield found

    def opening(self, path: Path, letters: str, *, whole: bool = False) -> str:
        """Return the command that gives ``who`` the bits ``letters`` of ``path``.

        Of a home it is none: that stays closed.

        :param whole: whether of all that is in it as well
        """
        if accounts.is_home(path):
            return f"keep it where every account may read, such as below /srv: {PAGE}"
        mode, place = f"{self.class_of(path.stat())}+{letters}", shlex.quote(str(path))
        if not whole:
            return f"chmod {mode} {place}"
        # Hidden files may have secrets, and a link leads anywhere.
        return f"find {place} -name '.?*' -prune -o ! -type l -exec chmod {mode} {{}} +"

    def class_of(self, status: os.stat_result) -> str:
        """Return whose bits count for ``who``: ``u``, ``g`` or ``o``."""
        if status.st_uid == self.who.uid:
            return "u"
        return "g" if status.st_gid in self.who.groups else "o"


def below(top: Path, skip: Skip) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield ``top`` and what is in it, at any depth, but no link, nor what vanishes meanwhile.

    :raises PermissionError: if we may not look ourselves
    """
    waiting = [top]
    while waiting:
        path = waiting.pop()
        with suppress(FileNotFoundError, NotADirectoryError):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                inner = sorted(map(path.joinpath, os.listdir(path)), reverse=True)
                waiting += [each for each in inner if not skip(each)]
