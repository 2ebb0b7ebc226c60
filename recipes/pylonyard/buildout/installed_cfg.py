"""Keep buildout's record ``.installed.cfg`` complete, and repair it.

Buildout deletes what the record names.  A record that was cut short names folders
above those that were meant, so it is put back from a good copy before buildout
reads it; without one it is removed, and all parts are installed anew.  Whatever
the record says, nothing outside the project is ever deleted, and in it no folder
outside buildout's own.
"""

import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pylonyard.packages import credentials
from pylonyard.system import atomic
from pylonyard.system.errors import PylonyardError

FILES = "__buildout_installed__"
DEVELOPED = "installed_develop_eggs"
SIGNATURE = "__buildout_signature__"

Sections = Mapping[str, Mapping[str, str]]


class RecordDamagedError(PylonyardError, ValueError):
    """A record is damaged; the message says why."""


@dataclass(frozen=True)
class Bounds:
    """The folders of a sandbox in which buildout may delete."""

    directory: Path
    folders: tuple[Path, ...]
    """``parts``, ``bin`` and ``develop-eggs``."""

    def allow(self, name: str) -> bool:
        """Return whether buildout may delete ``name``, relative to the sandbox."""
        path = os.path.normpath(self.directory / name)
        parent = Path(os.path.realpath(os.path.dirname(path)))
        homes = [Path(os.path.realpath(folder)) for folder in self.folders]
        return Path(path) not in self.folders and any(
            parent == home or home in parent.parents for home in homes
        )

    def allow_file(self, name: str) -> bool:
        """Return whether ``name`` may be a file in the project that another recipe made."""
        path = Path(os.path.normpath(self.directory / name))
        real = Path(os.path.realpath(path.parent), path.name)
        kept = [self.directory / folder for folder in ("var", "releases", "current")]
        is_inside = Path(os.path.realpath(self.directory)) in real.parents
        is_file = path.is_symlink() or path.is_file()
        return is_inside and is_file and not any(folder in path.parents for folder in kept)

    def harms(self, name: str) -> bool:
        """Return whether ``name`` is a folder that holds all of the project, or of buildout's own.

        A part has no reason to name it, and a name that was cut short becomes one.
        """
        path = Path(os.path.realpath(self.directory / name))
        return any(
            path == real or path in real.parents
            for real in (Path(os.path.realpath(each)) for each in (self.directory, *self.folders))
        )


def parsed(text: str) -> Sections:
    """Return the sections of a record.

    :raises RecordDamagedError: if it is none, or ends within a line
    """
    # Imported here: nothing but bin/buildout has it.
    from zc.buildout import configparser

    if not text.endswith("\n"):
        raise RecordDamagedError("it ends within a line")
    if unprintable := [c for c in text if ord(c) < 32 and c not in "\n\t"]:
        raise RecordDamagedError(f"it has the character {unprintable[0]!r}")
    try:
        sections: Sections = configparser.parse(io.StringIO(text), "the record")
    except configparser.Error as error:
        raise RecordDamagedError(str(error).splitlines()[0]) from error
    except Exception as error:  # A section's condition is Python code to buildout.
        raise RecordDamagedError(f"{type(error).__name__}: {error}") from error
    return sections


def check(text: str, bounds: Bounds) -> None:
    """Check that buildout can act on a record without harm.

    :raises RecordDamagedError: if not
    """
    sections = parsed(text)
    if "parts" not in sections.get("buildout", {}):
        raise RecordDamagedError("expected a list of parts, got none")
    for part in sections["buildout"]["parts"].split():
        for option in (FILES, SIGNATURE, "recipe"):
            if option not in sections.get(part, {}):
                raise RecordDamagedError(f"expected {option} in [{part}], got none")
    for name in names(sections):
        if bounds.harms(name):
            raise RecordDamagedError(f"expected what a part made, got {name!r}")


def names(sections: Sections) -> Iterable[str]:
    """Yield every path that buildout would delete because of a record."""
    for section in sections.values():
        for option in (FILES, DEVELOPED):
            yield from filter(None, section.get(option, "").split("\n"))


def repair(record: Path, copy: Path, bounds: Bounds, tell: Callable[[str], object]) -> None:
    """Repair ``record``, or remove it, before buildout reads it.

    :param copy: the good copy, if there is one
    :param tell: is called with one line, if something was repaired
    :raises OSError: if the record can neither be read nor replaced
    """
    if not os.path.lexists(record):
        return
    try:
        check(record.read_text(encoding="utf-8"), bounds)
        return
    except ValueError as error:  # RecordDamagedError, or not UTF-8
        problem = str(error)
    try:
        text = copy.read_text(encoding="utf-8")
        check(text, bounds)
    except (OSError, ValueError):
        record.unlink()
        tell(f"{record} is damaged ({problem}); all parts are installed again.")
        return
    write(record, text)
    tell(f"{record} was damaged ({problem}); its copy from the last complete run is used.")


def updated(text: str, options: Mapping[str, str]) -> str:
    """Return a record with ``options`` added to its section ``buildout``.

    Buildout only appends, at each run; here what was appended before is replaced.
    """
    lines = text.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if line == "[buildout]\n"]
    head = "".join(lines[: starts[1]]).rstrip("\n") + "\n" if starts[1:] else text
    first = parsed(head).get("buildout", {})
    wanted = {**parsed(text).get("buildout", {}), **options}
    added = {
        name: value.replace("\n", "\n\t")
        for name, value in wanted.items()
        if first.get(name) != value
    }
    if not added:
        return head
    return f"{head}\n[buildout]\n" + "".join(f"{n} = {v}\n" for n, v in sorted(added.items()))


class Record:
    """The record of a sandbox, and its copy from the last complete run."""

    def __init__(self, base: Mapping[str, str], warn: Callable[[str], object]) -> None:
        """:param base: the options of ``[buildout]``"""
        self.directory = Path(base["directory"])
        self.is_kept = bool(base["installed"])
        self.path = self.directory / base["installed"]
        self.copy = self.directory / ".pylonyard" / self.path.name.lstrip(".")
        kinds = ("parts", "bin", "develop-eggs")
        folders = tuple(Path(base[f"{kind}-directory"]) for kind in kinds)
        self.bounds = Bounds(self.directory, folders)
        self._warn = warn
        self._release = ""

    def note_release(self) -> None:
        """Remember the current release: it decides about the record if the run fails."""
        self._release = _current(self.directory)

    def repair(self) -> None:
        """Repair it, or remove it, before buildout reads it."""
        if self.is_kept:
            repair(self.path, self.copy, self.bounds, self._warn)

    def save(self, sections: Sections, spell: Callable[[str, Any, TextIO], object]) -> None:
        """Write all of it.

        :param spell: writes one section, as buildout does
        """
        if not self.is_kept:
            return
        text = io.StringIO()
        for number, (name, options) in enumerate(sections.items()):
            text.write("\n" if number else "")
            spell(name, options, text)
        self.write(text.getvalue())

    def update(self, options: Mapping[str, str]) -> None:
        """Change options in its first section."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return  # It could not be written before.
        self.write(updated(text, options))

    def is_made_by_part(self, name: str) -> bool:
        """Return whether a part of the last complete run made a file that buildout may delete."""
        try:
            recorded = names(parsed(self.copy.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return False
        return self.bounds.allow_file(name) and name in recorded

    def keep_copy(self) -> None:
        """Copy it, without passwords that an older version may have written."""
        if self.is_kept and self.path.is_file():
            written = self.path.read_text(encoding="utf-8")
            text = credentials.KNOWN.take(written)
            if text != written:
                write(self.path, text)
            write(self.copy, text)

    def write(self, text: str) -> None:
        """Write it completely; remove it if it can no longer be true.

        That is no reason to fail if the run has made a new release current already.
        """
        try:
            write(self.path, text)
        except OSError as error:
            if error.errno not in atomic.UNWRITABLE:
                raise
            self.path.unlink(missing_ok=True)
            if _current(self.directory) == self._release:
                raise
            where, why = error.filename or self.path, error.strerror
            self._warn(f"cannot write {where}: {why}; the next run installs all parts again.")


def _current(directory: Path) -> str:
    """Return the target of a sandbox's link to its live release; '' if there is none."""
    try:
        return os.readlink(directory / "current")
    except OSError:
        return ""


def write(path: Path, text: str) -> None:
    """Write a record, or its copy, atomically.

    It is not forced onto the disk, since what a crash of the machine damages is repaired.
    """
    atomic.write(path, text.encode(), durable=False)
