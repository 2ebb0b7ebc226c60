"""Start programs of ours: the first lines of their scripts, and their tools, verified.

The programs start without ``site``, so that no ``.pth`` file and no ``sitecustomize``
runs. The tools that they need (eggs of the wheels in ``profiles/tools.txt``) are put on
``sys.path`` here, after they were compared with what is recorded.  Standard library only.
"""

import os
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pylonyard.system.errors import EARLY
from pylonyard.system.relocation import bootstrap_command

if TYPE_CHECKING:
    from pylonyard.packages.integrity import Verified


TOOLS = Path(__file__).parents[3] / "profiles" / "tools.txt"

Pins = Mapping[tuple[str, str], set[str]]
"""For each canonical name and version the allowed SHA-256 digests of the wheel."""

_folders: list[str] = []
"""Folders of tools that were installed in the ordinary way, without recorded digests."""

_environments: list[tuple[Path, tuple[Path, ...]]] = []


def requirements(path: Path) -> Iterator[tuple[str, str, set[str]]]:
    """Yield (name, version, SHA-256 digests) for each pin of a requirements file."""
    logical = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in logical.splitlines():
        words = line.partition(" #")[0].split()
        if words and not words[0].startswith("#"):
            name, _, version = words[0].partition("==")
            yield name, version, {w.rpartition(":")[2] for w in words[1:]}


def set_environment(home: str, *lists: str) -> None:
    """Record where this program finds its tools; read none of them yet.

    :param home: the environment that contains them, in ``sandboxes`` of a cache
    :param lists: the requirements files that name their wheels
    """
    _environments[:] = [(Path(home), tuple(map(Path, lists)))]
    # What zc.buildout starts, and writes into scripts.
    sys.executable = os.path.join(home, "bin", "python")


def set_folders(*places: str) -> None:
    """Record the folders of tools that were installed together with Pylonyard."""
    _folders[:] = places


def environment_statements(home: str | Path, *lists: str | Path) -> list[str]:
    """Return the statements with which a script calls :func:`set_environment`."""
    words = ", ".join(repr(str(path)) for path in (home, *lists))
    return ["from pylonyard.environments import tools", f"tools.set_environment({words})"]


def load(*names: str) -> None:
    """Put tools on ``sys.path``, or end this process with one line.

    A program that was started with its tools, such as a test, has them already.

    :param names: canonical names of those needed; all if not given
    """
    if why := try_to_load(*names):
        called = Path(os.path.abspath(sys.argv[0]))
        sys.exit(f"{called.name}: {why}; run: {bootstrap_command(called.parents[1])}")


def try_to_load(*names: str) -> str:
    """Put tools on ``sys.path``; return why that failed, or ''.

    :param names: canonical names of those needed; all if not given
    """
    from pylonyard.packages.wheels import WheelError

    if python := removed_interpreter():
        return f"{python}, which it was made for, was removed"
    sys.path.extend(_folders)
    _folders.clear()
    for home, lists in _environments:
        try:
            _load(home, lists, names)
        except (WheelError, OSError, ValueError) as error:
            return str(error)
    _environments.clear()
    return ""


def removed_interpreter() -> str:
    """Return the interpreter of this program, if it was removed."""
    for home, _ in _environments:
        python = home / "bin" / "python"
        if python.is_symlink() and not python.exists():
            return os.path.realpath(python)
    return ""


def _load(home: Path, lists: Iterable[Path], names: Iterable[str]) -> None:
    from pylonyard.environments import eggs_venv
    from pylonyard.packages.integrity import Verified

    pins = {(n, version): found for path in lists for n, version, found in requirements(path)}
    wanted = set(names) or {name for name, _ in pins}
    verified = Verified(home.parent.parent)
    for egg in eggs_venv.eggs_of(home):
        if _pin(egg)[0] in wanted:
            _check(egg, pins, verified)
            sys.path.append(str(egg))


def _pin(egg: Path) -> tuple[str, str]:
    name, version = egg.name.split("-")[:2]
    return re.sub(r"[-_.]+", "-", name).lower(), version


def _check(egg: Path, pins: Pins, verified: "Verified") -> None:
    from pylonyard.packages.wheels import WheelError

    digests = pins.get(_pin(egg), set())
    if verified.unchanged(egg, digests):
        return
    wheel = _wheel_of(egg, digests, verified)
    if wheel is None:
        raise WheelError(
            f"{egg}: expected its wheel in {verified.cache}/dist, with a SHA-256 that is "
            "recorded, got none"
        )
    verified.install(wheel, egg.parent, digests)


def _wheel_of(egg: Path, digests: Collection[str], verified: "Verified") -> Path | None:
    """Return the wheel of an egg from the cache, or else one that fits."""
    from pylonyard.packages.wheels import is_supported, sha256

    found = verified.cache.glob(f"dist/{'-'.join(egg.name.split('-')[:2])}-*.whl")
    recorded = {wheel: digest for wheel in sorted(found) if (digest := sha256(wheel)) in digests}
    noted = [wheel for wheel, digest in recorded.items() if verified.has(egg, digest)]
    return next(iter([*noted, *filter(is_supported, recorded)]), None)


# The last version that makes environments of Python 2.7, with its requirements.
VIRTUALENV_WHEELS = (
    "virtualenv-20.21.1-py3-none-any.whl",
    "distlib-0.3.9-py2.py3-none-any.whl",
    "filelock-3.12.4-py3-none-any.whl",
    "platformdirs-3.11.0-py3-none-any.whl",
)
VIRTUALENV = tuple("==".join(name.split("-")[:2]) for name in VIRTUALENV_WHEELS)


# The first lines of scripts, where a shell finds the Python for the rest.  To the kernel they are
# shell scripts, since its "#!" line takes neither spaces nor long paths; to Python the shell's
# lines are a string that is not used.


ISOLATED = "-I -S"
"""Python's options in our programs: without ``site``, user folders and variables."""

SPARE = "/usr/bin/python3 /usr/local/bin/python3 /usr/bin/python3.1? /usr/local/bin/python3.1?"
"""Folders in which the shell looks for a Python: fixed ones, since root runs these scripts."""

OLDEST = (3, 10)
"""The oldest Python that runs our code."""


def header(python: Path, options: str = "") -> list[str]:
    """Return the lines for a script of an environment, which only its own Python can run.

    :raises ValueError: if its path has a backslash, which Python would read
    """
    command = f"{shlex.quote(str(python))} {options}".strip()
    return _as_text(python, [f"'''exec' {command} \"$0\" \"$@\""])


def header_of_ours(python: Path, options: str, directory: Path) -> list[str]:
    """Return the lines for a program of ours, which runs on the standard library.

    If ``python`` was removed, another one runs it, so that you can still stop a site,
    and see what is missing.  Exit statuses are those that LSB gives to init scripts.

    :param directory: the sandbox of the program
    :raises ValueError: if its path has a backslash, which Python would read
    """
    again = bootstrap_command(directory, "PYTHON") or "make the environment of its buildout again"
    oldest = ".".join(map(str, OLDEST))
    lines = _as_text(
        python,
        [
            f"'''test' -x {shlex.quote(str(python))} && "
            f'exec {shlex.quote(str(python))} {options} "$0" "$@"',
            f"for python in {SPARE}; do",
            f'    "$python" {options} -c "import sys; sys.exit(sys.version_info < {OLDEST})" '
            "2>/dev/null &&",
            f'        exec "$python" {options} "$0" "$@"',
            "done",
            f"removed={shlex.quote(str(python))} again={shlex.quote(again)}",
            'echo "${0##*/}: $removed was removed, and there is no other Python of at least '
            f'{oldest}; install one, then with it, in its folder: $again" >&2',
            'test "$1" = status && exit 4',
            "exit 5",
        ],
    )
    return [*lines, *ending_early()]


def ending_early(name: str = "") -> list[str]:
    """Return the first statements of a program: Ctrl-C ends it in one line from now on.

    Its imports take long enough to be interrupted.  See ``errors.raising_interrupts``.

    :param name: of the program, by default that of its script
    """
    message = repr(f"{name}: interrupted\n".encode()) if name else "name + b': interrupted\\n'"
    return [
        "import os, sys, _signal",
        f"def {EARLY}(*_):",
        "    name = os.fsencode(os.path.basename(sys.argv[0]))",
        f"    os.write(2, {message})",
        "    os._exit(130)",
        "if _signal.getsignal(2) is _signal.default_int_handler:  # not for nohup and the like",
        f"    _signal.signal(2, {EARLY})",
    ]


def package_statements(recipes: Path, directory: Path, sandbox: str) -> list[str]:
    """Return the statements by which a program of ours finds its package.

    :param recipes: the folder of the package
    :param directory: the sandbox; a package in it moves with it
    :param sandbox: ``IN_BIN`` or ``IN_RELEASE`` of ``config.layout``
    """
    within = recipes.is_relative_to(directory)
    name = str(recipes.relative_to(directory)) if within else recipes.name
    place = "{}{}'".format(sandbox, name.replace("'", ""))
    return [
        "import os, sys",
        f"recipes = {str(recipes)!r}",
        "if not os.path.isdir(recipes):  # the sandbox was moved",
        "    here = os.path.dirname(os.path.realpath(sys.argv[0]))",
        f"    recipes = os.path.join(here, {place})",
        "sys.path.insert(0, recipes)",
    ]


def _as_text(python: Path, lines: Sequence[str]) -> list[str]:
    if "\\" in str(python):
        raise ValueError(f"expected a path without backslashes, got {str(python)!r}")
    # The coding is that of the path in the lines after it.
    return ["#!/bin/sh", "# -*- coding: utf-8 -*-", *lines, "' '''"]


# The names of these functions in scripts of older versions.
place, find, bring = set_environment, set_folders, load
