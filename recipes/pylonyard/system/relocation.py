"""Find out whether a sandbox was moved or copied since it was made.

Paths in a release name the folder in which it was made.  Standard library only.
"""

import os
from pathlib import Path
from typing import NamedTuple

OURS = Path(__file__).parents[3] / "bootstrap.py"
"""The script of the checkout that this package is in, if it is in one."""


class MovedSandbox(NamedTuple):
    """A sandbox that was moved or copied."""

    made: Path
    place: Path
    is_copy: bool
    """True if the original is still there."""

    @property
    def message(self) -> str:
        """Return what happened to it, and what to do."""
        what = "is a copy of" if self.is_copy else "was moved here from"
        return f"{self.place} {what} {self.made}: {how_to_make_anew(self.place)}"

    def path(self, made: Path) -> Path:
        """Return the present path for a former path in the sandbox."""
        inner = made.is_relative_to(self.made)
        return self.place / made.relative_to(self.made) if inner else made


def detect_move(made: Path, command: str, script: str) -> MovedSandbox | None:
    """Return how the sandbox of ``script`` was moved or copied; None if it was not.

    :param made: where it was made
    :param command: the name of the script
    :param script: as it was called, from ``bin`` or from a release
    """
    if os.path.basename(os.path.realpath(script)) != command:
        return None  # such as a test, or another program that calls ours
    place = _sandbox_of(script)
    if place is None or _is_same(place, made):
        return None
    return MovedSandbox(made, place, is_copy=_is_sandbox(made))


def how_to_make_anew(sandbox: Path) -> str:
    """Return the command that makes the files of a sandbox for its present place."""
    if not (command := bootstrap_command(sandbox)):
        return f"make its bin/buildout again in {sandbox}, as at first, and run it"
    from shlex import quote

    configuration = _configuration(sandbox)
    words = f" -c {quote(configuration)}" if configuration != "buildout.cfg" else ""
    return f"run there: {command}{words}"


def bootstrap_of(sandbox: Path) -> Path | None:
    """Return the script that makes ``bin/buildout`` of a sandbox; None if pip, say, made it."""
    return next((s for s in (sandbox / "bootstrap.py", OURS) if s.exists()), None)


def bootstrap_command(sandbox: Path, python: str = "python3") -> str:
    """Return the command that makes ``bin/buildout``, as typed in its folder; '' if none does."""
    if not (script := bootstrap_of(sandbox)):
        return ""
    from shlex import join

    within = script.is_relative_to(sandbox)
    return join([python, str(script.relative_to(sandbox) if within else script)])


def _configuration(sandbox: Path) -> str:
    """Return the configuration file of the current release."""
    # Imported here: most sandboxes are where they were made.
    from pylonyard.system import safe_files
    from pylonyard.system.errors import PylonyardError
    from pylonyard.system.safe_files import read_plainly

    try:
        said = safe_files.json_object(read_plainly(sandbox / "current" / "manifest.json"))
        return str(said["configuration"])
    except (OSError, PylonyardError, KeyError):
        return "buildout.cfg"


def _sandbox_of(script: str) -> Path | None:
    """Return the sandbox that a script belongs to; None if it is in none."""
    called, real = os.path.abspath(script), os.path.realpath(script)
    for folder in (Path(called).parent, Path(real).parent):
        for place in (folder.parent, *folder.parents[2:3]):  # of bin, of releases/1/bin
            if folder.name == "bin" and _is_sandbox(place):
                return Path(os.path.realpath(place))
    return None


def _is_sandbox(folder: Path) -> bool:
    has_releases = (folder / "current").is_symlink() and (folder / "releases").is_dir()
    return has_releases or (folder / ".installed.cfg").is_file()


def _is_same(place: Path, made: Path) -> bool:
    """Return whether two paths lead to one folder; links and mounts make many."""
    try:
        return os.path.samefile(place, made)
    except OSError:
        return False
