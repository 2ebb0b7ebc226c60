"""Remember the configuration of a sandbox: the one that ``bootstrap.py -c`` named last.

A plain ``bin/buildout`` uses it, so that a production sandbox does not become
a development one unawares.  Standard library only.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from pylonyard.system import safe_files
from pylonyard.system.errors import PylonyardError

MEMORY = Path(".pylonyard", "sandbox.json")

VERSION = 1
"""The version of the file; older versions can be read."""

USUAL = "buildout.cfg"
"""The configuration of a sandbox without such a file."""

_SWITCHES = "vqhWUoOnNDA"
"""Options of zc.buildout that can be combined, before ``c`` or ``t`` and its value."""


class MemoryDamagedError(PylonyardError, ValueError):
    """The configuration of the sandbox cannot be read."""


def named(words: Sequence[str]) -> str | None:
    """Return the configuration that a command line of zc.buildout names, if any."""
    found = None
    left = list(words)
    while left and (left[0].startswith("-") or "=" in left[0]):
        word = left.pop(0)
        switch = word.lstrip("-").lstrip(_SWITCHES) if word.startswith("-") else ""
        if switch[:1] in ("c", "t") and not word.startswith("--"):
            value = switch[1:] or (left.pop(0) if left else "")
            found = value if switch[0] == "c" else found
    return found


def remembered(directory: Path) -> str:
    """Return the configuration of a sandbox, relative to its folder.

    :raises MemoryDamagedError: if it cannot be read
    """
    place = directory / MEMORY
    try:
        recorded = str(safe_files.json_object(place.read_bytes(), VERSION)["configuration"])
    except FileNotFoundError:
        return USUAL
    except safe_files.NewerError as error:
        raise MemoryDamagedError(_unreadable(directory, str(error))) from error
    except (OSError, KeyError, safe_files.DamagedError) as error:
        why = getattr(error, "strerror", None) or "damaged text"
        raise MemoryDamagedError(_unreadable(directory, why)) from error
    if not recorded:
        raise MemoryDamagedError(_unreadable(directory, "none"))
    return recorded


def _unreadable(directory: Path, got: str) -> str:
    # Imported here: a run with nothing to do has no use for it.
    from pylonyard.system.relocation import bootstrap_command

    command = bootstrap_command(directory)
    return (
        f"{directory / MEMORY}: expected the name of this sandbox's configuration, got {got}; "
        + (f"name it once: {command} -c FILE" if command else "name it each time: -c FILE")
    )


def remember(directory: Path, name: str) -> None:
    """Record the configuration that plain runs of a sandbox use.

    :param name: as from the current folder; an address is kept as it is
    :raises OSError: if it cannot be written
    """
    place, recorded = directory / MEMORY, seen_from(directory, name)
    if recorded == USUAL:
        place.unlink(missing_ok=True)
        return
    # Imported here: a run with nothing to do writes nothing.
    from pylonyard.system import atomic

    atomic.write(place, text(recorded).encode())


def text(recorded: str) -> str:
    """Return the content of the file that records a configuration."""
    return json.dumps({"version": VERSION, "configuration": recorded}) + "\n"


def seen_from(directory: Path, name: str) -> str:
    """Return a configuration relative to the folder of a sandbox; absolute if it is outside."""
    if "://" in name:
        return name
    folder, last = os.path.split(os.path.abspath(name))
    path, base = Path(os.path.realpath(folder), last), Path(os.path.realpath(directory))
    return os.fspath(path.relative_to(base) if path.is_relative_to(base) else path)


def completed(words: Sequence[str], directory: Path) -> list[str]:
    """Return a command line of ``bin/buildout``, with ``-c`` if that is needed.

    :param directory: the sandbox whose command it is
    :raises MemoryDamagedError: if it is not known
    """
    if named(words) is not None:
        return list(words)
    recorded = remembered(directory)
    is_there = os.path.realpath(os.curdir) == os.path.realpath(directory)
    if recorded == USUAL and (is_there or os.path.exists(USUAL)):
        return list(words)
    return ["-c", recorded if is_there or "://" in recorded else str(directory / recorded), *words]


def of_run(words: Sequence[str], directory: Path) -> str:
    """Return the configuration of the run with the arguments ``words``, relative to its sandbox."""
    return seen_from(directory, named(words) or USUAL)
