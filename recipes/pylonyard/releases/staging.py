"""Merge the staged files of all parts of a run into one tree."""

import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pylonyard.config.layout import MANIFEST
from pylonyard.system.atomic import directory, files_below, mode_of
from pylonyard.system.errors import UserError


@dataclass(frozen=True)
class Staged:
    """The files of a future release: for each path the part and its staged file."""

    files: Mapping[str, tuple[str, Path]]

    @classmethod
    def collected(cls, stagings: Mapping[str, Path]) -> "Staged":
        """Merge the folders of all parts.

        :raises UserError: if two parts differ about a file
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
        """The names of the commands in ``bin/``."""
        return [path.removeprefix("bin/") for path in self.files if path.startswith("bin/")]

    def is_in(self, release: Path) -> bool:
        """Return whether ``release`` holds exactly these files."""
        there = {path.relative_to(release).as_posix() for path in files_below(release)}
        return there == {*self.files, MANIFEST} and all(
            equal(source, release / path) for path, (_, source) in self.files.items()
        )

    @property
    def modes(self) -> dict[str, int]:
        """The mode of each file in the release."""
        return {path: mode_of(source) for path, (_, source) in self.files.items()}

    def copy_to(self, folder: Path) -> None:
        """Copy the files to ``folder``; only the owner can read those for a group, as yet."""
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
            target.chmod(_unshared(mode))

    def share(self, folder: Path, groups: Mapping[str, int | None]) -> set[str]:
        """Let the account of each site read its files, in a copy.

        Return the sites whose account could not be let.

        :param groups: the number of each site's group, by its name; None if there is none yet
        """
        left = set()
        for path, mode in self.modes.items():
            site = path.partition("/")[0]
            if _unshared(mode) != mode and not _shared(folder / path, mode, groups[site]):
                left.add(site)
        return left


def _unshared(mode: int) -> int:
    """Return the mode of a file until it has its group."""
    return mode & ~0o070 if mode & 0o040 and not mode & 0o004 else mode


def _shared(path: Path, mode: int, group: int | None) -> bool:
    """Give a file to a group, if it exists and we may; return whether the group has it."""
    if group is None:
        return False
    status = path.stat()
    try:
        if status.st_gid != group:
            os.chown(path, -1, group)
        if stat.S_IMODE(status.st_mode) != mode:
            path.chmod(mode)
    except PermissionError:
        return False
    return True


def equal(one: Path, other: Path) -> bool:
    """Return whether a file, or a link, and another, its copy perhaps, hold the same."""
    try:
        if one.is_symlink() or other.is_symlink():
            return os.readlink(one) == os.readlink(other)
        modes = (mode_of(one), _unshared(mode_of(one)))
        return mode_of(other) in modes and one.read_bytes() == other.read_bytes()
    except OSError:
        return False


# ``manifest.json``: what a release holds, who made it, and which program passed it.


def write_manifest(
    release: Path,
    parts: Mapping[str, str],
    passed: Mapping[str, Sequence[str]],
    *,
    modes: Mapping[str, int] = MappingProxyType({}),
    configuration: str = "",
    environments: Mapping[str, str] = MappingProxyType({}),
    setup: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the manifest, the last file of a release.

    :param parts: the part that made each file, by the file's path in the release
    :param passed: the validators that passed it
    :param modes: the mode that a file is to have, if its account cannot be let read it yet
    :param configuration: the file that the run was of, as ``production.cfg``
    :param environments: that of each site, by its name
    :param setup: the database of each site whose application is to be set up
    """
    content = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "configuration": configuration,
        "environments": dict(environments),
        "setup": dict(setup),
        "files": {
            path: {
                **_description(release / path, modes.get(path)),
                "part": part,
                "passed": [*passed.get(path, ())],
            }
            for path, part in sorted(parts.items())
        },
    }
    target = release / MANIFEST
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    target.chmod(0o644)


def _description(path: Path, mode: int | None) -> dict[str, str]:
    if path.is_symlink():
        return {"link": os.readlink(path)}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    there = stat.S_IMODE(path.stat().st_mode) if mode is None else mode
    return {"sha256": digest, "mode": f"{there:04o}"}
