"""Store the releases of a sandbox: immutable folders, one of which is ``current``.

A release is made as a draft beside the others, of the files that all parts staged, and renamed
when it is whole: a number is either a whole release or does not exist.  Standard library only.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pylonyard.config.layout import IN_BIN, IN_RELEASE, MANIFEST
from pylonyard.system import atomic, safe_files
from pylonyard.system.atomic import directory, files_below, mode_of
from pylonyard.system.errors import PylonyardError, UserError
from pylonyard.system.safe_files import read_plainly

DRAFT = ".draft-"
ALWAYS = "pylonyard"
"""The command that is a file in ``bin/``, so that it works when ``current`` leads nowhere."""
IMPORTED = "from pylonyard.commands.main import main\n"
"""A text by which this file is recognised as ours."""
IMPORTED_BEFORE = "from pylonyard.admin import main\n"
"""A text by which a file of an earlier version is recognised."""
_NUMBER = re.compile("0|[1-9][0-9]*")


def statements(directory: Path, bin_folder: Path) -> list[str]:
    """Return the statements of that command, also before there is a release."""
    return [IMPORTED.strip(), f"sys.exit(main({str(directory)!r}, {str(bin_folder)!r}))"]


class NoReleaseError(PylonyardError):
    """There is no such release."""


@dataclass(frozen=True)
class Releases:
    """``folder`` holds the releases, ``current`` is the link to the live one."""

    folder: Path
    current: Path

    def numbers(self) -> list[int]:
        """Return the numbers of all complete releases, in ascending order."""
        if not self.folder.is_dir():
            return []
        names = (entry.name for entry in self.folder.iterdir())
        return sorted(int(name) for name in names if _NUMBER.fullmatch(name))

    def current_number(self) -> int | None:
        number = self.linked_number()
        return number if number is not None and self.path(number).is_dir() else None

    def linked_number(self) -> int | None:
        """Return the number in the link ``current``, even if that release was removed."""
        try:
            name = Path(os.readlink(self.current)).name
        except OSError:
            return None
        return int(name) if _NUMBER.fullmatch(name) else None

    def path(self, number: int) -> Path:
        return self.folder / str(number)

    def existing(self, number: int) -> Path:
        """Return the folder of a release.

        :raises NoReleaseError: if there is none of that number
        """
        if not self.path(number).is_dir():
            raise NoReleaseError(f"there is no release {number} in {self.folder}")
        return self.path(number)

    def manifest(self, number: int) -> Mapping[str, Any]:
        """Return the manifest of a release; empty if it is damaged."""
        try:
            return safe_files.json_object(read_plainly(self.path(number) / MANIFEST))
        except (OSError, PylonyardError):
            return {}

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """Make a temporary folder for a release; it is removed unless published.

        What a killed run left is removed first; the caller holds the lock.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f"{DRAFT}*"):
            shutil.rmtree(left)
        folder = Path(tempfile.mkdtemp(prefix=DRAFT, dir=self.folder))
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, draft: Path, used: Collection[int] = ()) -> int:
        """Make the temporary folder the newest release and ``current``; return its number.

        :param used: numbers of other known releases, which may have been removed
        """
        os.sync()
        number = max([*self.numbers(), *used, self.linked_number() or 0]) + 1
        draft.rename(self.path(number))
        self.make_current(number)
        return number

    def make_current(self, number: int) -> None:
        """Make ``current`` point to a release, with one rename.

        :raises NoReleaseError: if there is none of that number
        """
        target = os.path.relpath(self.existing(number), self.current.parent)
        drafts = tempfile.mkdtemp(prefix=DRAFT, dir=self.folder)
        try:
            link = os.path.join(drafts, "current")
            os.symlink(target, link)
            os.replace(link, self.current)
        finally:
            os.rmdir(drafts)
        _sync_folder(self.current.parent)

    def prune(self, keep: int, spared: Collection[int] = ()) -> list[int]:
        """Remove all but the newest ``keep`` releases, the current one, and those ``spared``."""
        current = self.current_number()
        old = [n for n in self.numbers()[:-keep] if n != current and n not in spared]
        for number in old:
            # Renamed first: a killed run then leaves a draft, not half a release.
            doomed = self.folder / f"{DRAFT}{number}"
            self.path(number).rename(doomed)
            shutil.rmtree(doomed)
        return old


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def linked_commands(current: Path) -> Mapping[str, str]:
    """Return the links in ``bin/`` for the scripts of the current release."""
    folder = current / "bin"
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    return {name: str(folder / name) for name in names}


def occupied_commands(bin_folder: Path, current: Path, names: Iterable[str]) -> list[str]:
    """Return the ``names`` of files in ``bin/`` that are not ours."""
    prefix = os.path.relpath(current / "bin", bin_folder)
    places = {name: bin_folder / name for name in names}
    return [
        name
        for name, place in places.items()
        if os.path.lexists(place) and not _is_ours(place, prefix)
    ]


def _is_ours(place: Path, prefix: str) -> bool:
    """Return whether ``bin/`` has a link into ``current`` there, or our copy of ``pylonyard``."""
    if place.is_symlink():
        return os.readlink(place).startswith(f"{prefix}/")
    is_file = place.name == ALWAYS and place.is_file()
    text = place.read_text(errors="replace") if is_file else ""
    return IMPORTED in text or IMPORTED_BEFORE in text


def link_commands(bin_folder: Path, current: Path) -> None:
    """Link exactly the scripts of the current release into ``bin/``.

    Only what is ours is ever replaced or removed.
    """
    bin_folder.mkdir(exist_ok=True)
    prefix = os.path.relpath(current / "bin", bin_folder)
    wanted = {name: f"{prefix}/{name}" for name in linked_commands(current)}
    if ALWAYS in wanted:
        _copy_command(current / "bin" / ALWAYS, bin_folder)
        del wanted[ALWAYS]
    for entry in bin_folder.iterdir():
        if entry.is_symlink() and _is_ours(entry, prefix):
            if wanted.get(entry.name) == os.readlink(entry):
                del wanted[entry.name]
            elif entry.name not in wanted:
                entry.unlink()
    for name, target in wanted.items():
        atomic.link(bin_folder / name, target)


def _copy_command(script: Path, bin_folder: Path) -> None:
    """Write a script to ``bin/`` itself, which finds the recipes from there too."""
    text = script.read_text(encoding="utf-8").replace(IN_RELEASE, IN_BIN)
    atomic.write(bin_folder / script.name, text.encode(), 0o755)


# The files of a future release, and its manifest.


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

    def equals_release(self, release: Path) -> bool:
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
                # Nobody else may read a secret, not even before its mode is set.
                target.touch(mode=0o600)
            shutil.copyfile(source, target, follow_symlinks=False)
            if target.is_symlink():
                continue
            mode = mode_of(source)
            target.chmod(_unshared(mode))

    def share(self, folder: Path, groups: Mapping[str, int | None]) -> set[str]:
        """Let the account of each site read its files, in a copy.

        Return the sites whose account still cannot.

        :param groups: the number of each site's group, by its name; None if there is none yet
        """
        left = set()
        for path, mode in self.modes.items():
            site = path.partition("/")[0]
            if _unshared(mode) != mode and not give_to_group(folder / path, mode, groups[site]):
                left.add(site)
        return left


def _unshared(mode: int) -> int:
    """Return the mode of a file until it has its group."""
    return mode & ~0o070 if mode & 0o040 and not mode & 0o004 else mode


def give_to_group(path: Path, mode: int, group: int | None) -> bool:
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
    """Return whether two files, or two links, have the same content, and files the same mode."""
    try:
        if one.is_symlink() or other.is_symlink():
            return os.readlink(one) == os.readlink(other)
        modes = (mode_of(one), _unshared(mode_of(one)))
        return mode_of(other) in modes and _same(one, other)
    except OSError:
        return False


def _same(one: Path, other: Path) -> bool:
    """Return whether two files have the same content; they are read a piece at a time."""
    with one.open("rb") as mine, other.open("rb") as theirs:
        while (block := mine.read(1 << 20)) == theirs.read(1 << 20):
            if not block:
                return True
    return False


# ``manifest.json``: the files of a release, their parts, and the programs that accepted them.


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
    :param passed: the validators that each file passed
    :param modes: the final mode of a file whose account cannot read it yet
    :param configuration: the file of the run, such as ``production.cfg``
    :param environments: the environment of each site, by name
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
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    there = stat.S_IMODE(path.stat().st_mode) if mode is None else mode
    return {"sha256": digest.hexdigest(), "mode": f"{there:04o}"}
