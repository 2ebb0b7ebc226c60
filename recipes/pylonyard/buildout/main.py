"""Start a run, by ``bin/buildout`` or by the extension ``pylonyard`` of any other ``buildout``.

It ends at once if nothing has changed.  Standard library only, up to the moment at which the
tools have been verified.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pylonyard.buildout import last_run
from pylonyard.config import configuration, inputs
from pylonyard.environments import tools
from pylonyard.system import relocation
from pylonyard.system.errors import raising_interrupts


def main(made: str = "") -> None:
    """Carry out the command line.

    :param made: the checkout for which this command was made
    """
    # Other accounts serve these files; secrets have modes of their own.
    os.umask(0o022)
    if made and (moved := relocation.detect_move(Path(made), "buildout", sys.argv[0])):
        sys.exit(f"buildout: {moved.message}")
    # What a run with nothing to do has no use for is imported where it is needed.
    try:
        with raising_interrupts():
            run()
    except KeyboardInterrupt:
        from pylonyard.system.errors import interrupted

        sys.exit(interrupted("buildout"))
    except Exception as error:
        from pylonyard.system import errors

        if line := errors.limit_reached(error):
            sys.exit(f"buildout: {line}")
        raise


def run() -> None:
    sys.argv[1:] = ["-o" if word == "--offline" else word for word in sys.argv[1:]]
    try:
        sys.argv[1:] = configuration.completed(sys.argv[1:], checkout())
    except configuration.MemoryDamagedError as error:
        sys.exit(f"buildout: {error}")
    if last_run.report_unchanged(sys.argv[1:], checkout()):
        return
    watch = inputs.begin()
    check(sys.argv[1:])
    expect_usable(checkout())
    tools.load()
    from pylonyard.buildout import driver

    driver.main(checkout(), watch)


def checkout() -> Path:
    """Return the checkout whose ``bin/buildout`` this process runs."""
    return Path(sys.argv[0]).resolve().parent.parent


def check(words: Sequence[str]) -> None:
    """Show the help, or refuse a command line in one line."""
    from pylonyard.system import command_line
    from pylonyard.system.errors import USAGE
    from pylonyard.system.safe_files import finish

    if command_line.asks_for_help(words):
        print(command_line.BUILDOUT, end="")
        sys.exit(finish("buildout", 0))
    again = relocation.bootstrap_command(checkout())
    if problem := command_line.buildout_error(words, again=again):
        print(f"buildout: {problem}; see bin/buildout --help", file=sys.stderr)
        sys.exit(USAGE)


def expect_usable(directory: Path) -> None:
    """Refuse a folder that cannot hold a sandbox, before anything is made."""
    from pylonyard.config import layout

    if why := layout.path_problem(directory):
        sys.exit(f"buildout: {why}")


# The extension.
#
# zc.buildout loads its extensions when it has read the configuration and installed nothing.
# Ours has the run begin anew in the same process, as ``bin/buildout`` of a checkout does it: the
# profile is read first, so that all that the user says wins over it, as with ``extends``.


UNGUARDED = (
    "zc.buildout and its tools are used as they were installed: they are not compared with "
    "recorded digests, as by the bin/buildout that bootstrap.py makes"
)


def load(run: Any) -> None:
    """Do what ``bin/buildout`` does, and end this process with its exit status.

    :param run: the ``zc.buildout.buildout.Buildout`` that loads its extensions
    """
    if getattr(run, "profile", None):
        return  # It is the run that was begun anew.
    directory = Path(run["buildout"]["directory"])
    eggs = Path(run["buildout"]["eggs-directory"])
    os.umask(0o022)
    link_eggs(eggs)
    if last_run.report_unchanged(sys.argv[1:], directory):
        sys.exit()
    try:
        expect_usable(directory)
    except SystemExit:
        _remove_empty(directory, eggs)
        raise
    make_command(Path(run["buildout"]["bin-directory"]), os.path.abspath(sys.argv[0]))
    watch = inputs.begin()
    # The files of these were opened before anybody took notes.
    modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    watch.seen.update(os.path.abspath(file) for file in modules if file)
    import logging
    import warnings

    # The eggs of other extensions, which are loaded, and of parts of namespaces such as zc.
    warnings.filterwarnings("ignore", r"Module \S+ was already imported from", UserWarning)
    for log in (logging.getLogger(), run._logger):
        log.handlers.clear()  # the run that begins anew has its own
    _forget_others(eggs)
    from pylonyard.buildout import driver
    from pylonyard.config import layout

    if not (directory / ".pylonyard").exists():
        print(f"pylonyard: {UNGUARDED}.", flush=True)
    driver.main(directory, watch, layout.profile())
    sys.exit()


MADE = "# Made by Pylonyard, whose messages name bin/buildout: it runs the one that ran last."


def make_command(folder: Path, program: str) -> None:
    """Write ``bin/buildout`` for a project without one; it runs ``program``, such as pip's."""
    place = folder / "buildout"
    if not (os.access(program, os.X_OK) and os.path.basename(program) == place.name):
        return
    is_ours = place.is_file() and MADE in place.read_text(encoding="utf-8", errors="replace")
    if os.path.lexists(place) and (not is_ours or os.path.samefile(place, program)):
        return
    import shlex

    from pylonyard.system.atomic import write

    with contextlib.suppress(OSError):  # the error comes when the folder is made
        write(place, f'#!/bin/sh\n{MADE}\nexec {shlex.quote(program)} "$@"\n'.encode(), 0o755)


def link_eggs(folder: Path) -> None:
    """Have ``buildout -o`` find what this process runs from ``folder``, where buildout put it.

    Offline, zc.buildout takes no egg that it made of a wheel for one, but follows a link beside
    it. A run that may install something passes over links.
    """
    from zc.buildout.easy_install import pkg_resources

    for dist in pkg_resources.working_set:
        egg = Path(dist.location or "")
        if egg.suffix != ".egg" or egg.parent != folder:
            continue
        dist.precedence = pkg_resources.EGG_DIST  # found by a link, it would be another recipe
        link = egg.with_suffix(".egg-link")
        if not os.path.lexists(link):
            from pylonyard.system.atomic import write

            with contextlib.suppress(OSError):  # somebody else's, who can run this online
                write(link, f"{egg.name}\n".encode(), 0o644)


def _remove_empty(directory: Path, folder: Path) -> None:
    """Remove the folder of eggs that zc.buildout has made, if it is empty and in the project."""
    with contextlib.suppress(OSError):
        while folder != directory and folder.is_relative_to(directory):
            folder.rmdir()
            folder = folder.parent


def _forget_others(folder: Path) -> None:
    """Have this process forget the eggs in a folder of zc.buildout: those of other extensions.

    The run that begins anew installs them again, as the profile may name another folder, and
    would load each extension twice.  Ours are imported already.
    """
    from zc.buildout.easy_install import pkg_resources

    working_set = pkg_resources.working_set
    ours: set[str] = set()
    with contextlib.suppress(pkg_resources.ResolutionError):
        found = working_set.resolve(pkg_resources.parse_requirements("pylonyard"))
        ours = {dist.location for dist in found}
    there = [one for one in working_set.entries if Path(one).is_relative_to(folder)]
    for location in [one for one in there if one not in ours]:
        working_set.entries.remove(location)
        for key in working_set.entry_keys.pop(location):
            working_set.by_key.pop(key, None)
        if location in sys.path:
            sys.path.remove(location)
