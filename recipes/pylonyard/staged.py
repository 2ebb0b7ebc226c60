"""What the parts of a run staged, as one tree."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zc.buildout import UserError

from pylonyard.releases import MANIFEST
from pylonyard.writing import directory, files_below, mode_of


@dataclass(frozen=True)
class Staged:
    """The files of a release to be: for each path, the part and its staged file."""

    files: Mapping[str, tuple[str, Path]]

    @classmethod
    def collected(cls, stagings: Mapping[str, Path]) -> "Staged":
        """Merge the folders of all parts.

        :raises zc.buildout.UserError: if two parts differ about a file
        """
        files: dict[str, tuple[str, Path]] = {}
        for part, staging in stagings.items():
            for source in files_below(staging):
                path = source.relative_to(staging).as_posix()
                if path in files and not equal(source, files[path][1]):
                    raise UserError(
                        f"[{part}] {path}: expected one content, "
                        f"but [{files[path][0]}] has another for it"
                    )
                files.setdefault(path, (part, source))
        return cls(files)

    @property
    def parts(self) -> dict[str, str]:
        """The part that made each file."""
        return {path: part for path, (part, _) in self.files.items()}

    @property
    def commands(self) -> list[str]:
        """The names that ``bin/`` will offer."""
        return [path.removeprefix("bin/") for path in self.files if path.startswith("bin/")]

    def is_in(self, release: Path) -> bool:
        """Tell whether ``release`` holds exactly these files."""
        there = {path.relative_to(release).as_posix() for path in files_below(release)}
        return there == {*self.files, MANIFEST} and all(
            equal(source, release / path) for path, (_, source) in self.files.items()
        )

    def copy_to(self, folder: Path, groups: Mapping[str, int]) -> None:
        """Copy the files into ``folder``.

        :param groups: the group id that may read a site's files with secrets, by
            the site's name; given to them if we are root
        """
        for path, (_, source) in self.files.items():
            target = folder / path
            directory(target.parent)
            if not source.is_symlink():
                # Others shall not read a secret, not even before its mode is set.
                target.touch(mode=0o600)
            shutil.copyfile(source, target, follow_symlinks=False)
            if target.is_symlink():
                continue
            mode = mode_of(source)
            if mode & 0o040 and not mode & 0o004 and os.geteuid() == 0:
                os.chown(target, -1, groups[path.partition("/")[0]])
            target.chmod(mode)


def equal(one: Path, other: Path) -> bool:
    """Tell whether two files, or links, are the same to a reader."""
    try:
        if one.is_symlink() or other.is_symlink():
            return os.readlink(one) == os.readlink(other)
        return mode_of(one) == mode_of(other) and one.read_bytes() == other.read_bytes()
    except OSError:
        return False
