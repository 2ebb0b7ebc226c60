"""Find out what an account can read, write and enter, and the command that permits it."""

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
MOST_FILES = 20000
"""Files that are checked, of the code or of one folder of the data."""

PAGE = "docs/on-a-real-server.rst"

Skip = Callable[[Path], bool]


@dataclass(frozen=True)
class Obstacle:
    """An action that an account cannot do, such as ``read /x``, and the advice."""

    what: str
    advice: str


class Access:
    """The access of the account ``who``; each folder on the way is checked once."""

    def __init__(self, who: Account) -> None:
        self.who = who
        self.files_left = MOST_FILES
        self.is_incomplete = False
        """True if there were more files than ``MOST_FILES`` files."""
        self._passed: set[Path] = set()

    def may(self, path: Path, bits: int, status: os.stat_result | None = None) -> bool:
        status = status or path.stat()
        folder = Folder(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        return bits & ~bits_of(self.who, folder) == 0

    def closed_folders(self, path: Path) -> Iterator[Obstacle]:
        """Yield each folder above ``path``, a path without links, that cannot be entered."""
        for folder in reversed(path.parents):
            if folder not in self._passed and not self.may(folder, SEARCH):
                yield Obstacle(f"enter {folder}", self.chmod_command(folder, "x"))
            self._passed.add(folder)

    def read_obstacles(self, path: Path, *, only_pass: bool = False) -> Iterator[Obstacle]:
        """Yield the obstacles to reading ``path``.

        :raises PermissionError: if we may not look ourselves
        """
        try:
            real = path.resolve(strict=True)
        except PermissionError:
            raise
        except OSError as error:
            yield Obstacle(f"read {path}: {error.strerror}", "bin/buildout")
            return
        yield from self.closed_folders(real)
        if not only_pass and not self.may(real, READ):
            yield Obstacle(f"read {real}", self.chmod_command(real, "r"))

    def read_obstacles_below(self, top: Path, skip: Skip) -> Iterator[Obstacle]:
        """Yield the obstacles to reading ``top``, a file or a folder with all in it."""
        for path, status in self._below(top, skip):
            is_folder = stat.S_ISDIR(status.st_mode)
            if not self.may(path, READ | SEARCH if is_folder else READ, status):
                letters = "rX" if is_folder else "r"
                yield Obstacle(f"read {path}", self.chmod_command(path, letters, whole=is_folder))

    def write_obstacles_below(self, top: Path, bits: int, skip: Skip) -> Iterator[tuple[Path, str]]:
        """Yield each path below ``top`` that cannot be written or read, and ``write`` or ``read``.

        The account's own files in subfolders may be read-only on purpose.

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
        for found in walk(top, skip):
            if not self.files_left:
                self.is_incomplete = True
                return
            self.files_left -= 1
            yield found

    def chmod_command(self, path: Path, letters: str, *, whole: bool = False) -> str:
        """Return the command that gives ``who`` the permissions ``letters`` on ``path``.

        For a home folder there is no command: it stays closed.

        :param whole: also on all that is in it
        """
        if accounts.is_home(path):
            return f"keep it where every account may read, such as below /srv: {PAGE}"
        mode, place = f"{self.class_of(path.stat())}+{letters}", shlex.quote(str(path))
        if not whole:
            return f"chmod {mode} {place}"
        # Hidden files may have secrets, and a link may lead anywhere.
        return f"find {place} -name '.?*' -prune -o ! -type l -exec chmod {mode} {{}} +"

    def class_of(self, status: os.stat_result) -> str:
        """Return the class of permission bits that applies to ``who``: ``u``, ``g`` or ``o``."""
        if status.st_uid == self.who.uid:
            return "u"
        return "g" if status.st_gid in self.who.groups else "o"


def walk(top: Path, skip: Skip) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield ``top`` and all below it, except links and files that vanish meanwhile.

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
