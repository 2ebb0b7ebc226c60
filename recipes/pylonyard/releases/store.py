"""Store the releases of a sandbox: immutable folders, one of which is ``current``.

A release is made as a draft beside the others and renamed when it is whole, so
a number is either a whole release or does not exist.  Standard library only.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.config import script_headers
from pylonyard.config.layout import MANIFEST
from pylonyard.system import safe_files
from pylonyard.system.errors import PylonyardError
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


class NoRelease(PylonyardError):
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

        :raises NoRelease: if there is none of that number
        """
        if not self.path(number).is_dir():
            raise NoRelease(f"there is no release {number} in {self.folder}")
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

        :param used: numbers that are known of releases which may be gone
        """
        os.sync()
        number = max([*self.numbers(), *used, self.linked_number() or 0]) + 1
        draft.rename(self.path(number))
        self.flip(number)
        return number

    def flip(self, number: int) -> None:
        """Make ``current`` point to a release, with one rename.

        :raises NoRelease: if there is none of that number
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
            # Renamed first: what a killed run leaves is a draft, not half a release.
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


def occupied(bin_folder: Path, current: Path, names: Iterable[str]) -> list[str]:
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
    # Imported here: a run with nothing to do only looks a release up.
    from pylonyard.system import atomic

    for name, target in wanted.items():
        atomic.link(bin_folder / name, target)


def _copy_command(script: Path, bin_folder: Path) -> None:
    """Write a script to ``bin/`` itself, which finds the recipes from there too."""
    text = script.read_text(encoding="utf-8").replace(
        script_headers.IN_RELEASE, script_headers.IN_BIN
    )
    from pylonyard.system import atomic

    atomic.write(bin_folder / script.name, text.encode(), 0o755)
