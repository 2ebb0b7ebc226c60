"""Buildout's own record of what it installed, ``.installed.cfg``: never cut, and repaired.

Buildout deletes what the record names.  A record that was cut short names folders
above those that were meant, so it is put back from a good copy before buildout
reads it; without one it is removed, and all parts are installed anew.  Whatever
the record says, nothing outside the sandbox's own folders is ever deleted.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pylonyard.system.errors import PylonyardError

FILES = "__buildout_installed__"
DEVELOPED = "installed_develop_eggs"
SIGNATURE = "__buildout_signature__"

Sections = Mapping[str, Mapping[str, str]]


class Damaged(PylonyardError, ValueError):
    """A record is not what buildout writes; the message says why."""


@dataclass(frozen=True)
class Bounds:
    """The folders of a sandbox in which buildout may delete."""

    directory: Path
    folders: tuple[Path, ...]
    """``parts``, ``bin`` and ``develop-eggs``."""

    def allow(self, name: str) -> bool:
        """Tell whether buildout may delete ``name``, relative to the sandbox."""
        path = os.path.normpath(self.directory / name)
        parent = Path(os.path.realpath(os.path.dirname(path)))
        homes = [Path(os.path.realpath(folder)) for folder in self.folders]
        return Path(path) not in self.folders and any(
            parent == home or home in parent.parents for home in homes
        )


def parsed(text: str) -> Sections:
    """Return the sections of a record.

    :raises Damaged: if it is none, or ends within a line
    """
    # Imported here: nothing but bin/buildout has it.
    from zc.buildout import configparser

    if not text.endswith("\n"):
        raise Damaged("it ends within a line")
    if unprintable := [c for c in text if ord(c) < 32 and c not in "\n\t"]:
        raise Damaged(f"it has the character {unprintable[0]!r}")
    try:
        sections: Sections = configparser.parse(io.StringIO(text), "the record")
    except configparser.Error as error:
        raise Damaged(str(error).splitlines()[0]) from error
    except Exception as error:  # A section's condition is Python code to buildout.
        raise Damaged(f"{type(error).__name__}: {error}") from error
    return sections


def check(text: str, bounds: Bounds) -> None:
    """Check that buildout can act on a record without harm.

    :raises Damaged: if not
    """
    sections = parsed(text)
    if "parts" not in sections.get("buildout", {}):
        raise Damaged("expected a list of parts, got none")
    for part in sections["buildout"]["parts"].split():
        for option in (FILES, SIGNATURE, "recipe"):
            if option not in sections.get(part, {}):
                raise Damaged(f"expected {option} in [{part}], got none")
    for name in names(sections):
        if not bounds.allow(name):
            raise Damaged(f"expected what is in parts, bin or develop-eggs, got {name!r}")


def names(sections: Sections) -> Iterable[str]:
    """Yield every path that buildout would delete on the word of a record."""
    for section in sections.values():
        for option in (FILES, DEVELOPED):
            yield from filter(None, section.get(option, "").split("\n"))


def repair(record: Path, copy: Path, bounds: Bounds, tell: Callable[[str], None]) -> None:
    """Have ``record`` be whole or absent, before buildout reads it.

    :param copy: the good copy, if there is one
    :param tell: is given one line, if something had to be done
    :raises OSError: if the record can neither be read nor replaced
    """
    if not os.path.lexists(record):
        return
    try:
        check(record.read_text(encoding="utf-8"), bounds)
        return
    except ValueError as error:  # Damaged, or not UTF-8
        problem = str(error)
    try:
        text = copy.read_text(encoding="utf-8")
        check(text, bounds)
    except (OSError, ValueError):
        record.unlink()
        tell(f"{record} is damaged ({problem}); all parts are installed anew.")
        return
    replace(record, text)
    tell(f"{record} was damaged ({problem}); its copy of the last whole run is used.")


def updated(text: str, options: Mapping[str, str]) -> str:
    """Return a record whose section ``buildout`` has ``options`` as well.

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


def replace(path: Path, text: str) -> None:
    """Write ``path`` whole or not at all; keep what is there if it is the same.

    It is not forced onto the disk, since what a crash of the machine damages is repaired.
    """
    content = text.encode()
    try:
        if path.read_bytes() == content:
            return
    except OSError:
        pass
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        draft = Path(folder, path.name)
        try:
            draft.write_bytes(content)
        except OSError as error:
            error.filename = str(path)  # A full disk has none, and a draft's tells nothing.
            raise
        draft.replace(path)
