"""Make the first lines of scripts, where a shell finds the Python for the rest.

To the kernel they are shell scripts, since its "#!" line takes neither spaces nor long
paths; to Python the shell's lines are a text that nobody reads.  Standard library only.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

SPARE = "/usr/bin/python3 /usr/local/bin/python3 /usr/bin/python3.1? /usr/local/bin/python3.1?"
"""Folders in which the shell looks for a Python: fixed ones, since root runs these scripts."""

OLDEST = (3, 10)
"""The oldest Python that runs our code."""


IN_BIN = "'../"
IN_RELEASE = "'../../../"
"""The beginning of the path to the recipes, as seen from the script."""


def header(python: Path, options: str = "") -> list[str]:
    """Return the lines for a script of an environment, which only its own Python can run.

    :raises ValueError: if its path has a backslash, which Python would read
    """
    command = f"{shlex.quote(str(python))} {options}".strip()
    return _as_text(python, [f"'''exec' {command} \"$0\" \"$@\""])


def header_of_ours(python: Path, options: str) -> list[str]:
    """Return the lines for a program of ours, which runs on the standard library.

    Where ``python`` was removed, another runs it, so that a site can still be stopped,
    and asked what it lacks.  Exit statuses are those that LSB gives to init scripts.

    :raises ValueError: if its path has a backslash, which Python would read
    """
    oldest = ".".join(map(str, OLDEST))
    return _as_text(
        python,
        [
            f"'''test' -x {shlex.quote(str(python))} && "
            f'exec {shlex.quote(str(python))} {options} "$0" "$@"',
            f"for python in {SPARE}; do",
            f'    "$python" {options} -c "import sys; sys.exit(sys.version_info < {OLDEST})" '
            "2>/dev/null &&",
            f'        exec "$python" {options} "$0" "$@"',
            "done",
            f"removed={shlex.quote(str(python))}",
            'echo "${0##*/}: $removed was removed, and there is no other Python of at least '
            f'{oldest}; install one, then run bootstrap.py with it" >&2',
            'test "$1" = status && exit 4',
            "exit 5",
        ],
    )


def finding(recipes: Path, sandbox: str) -> list[str]:
    """Return the statements by which a program of ours finds its package.

    :param recipes: the folder of the package
    :param sandbox: ``IN_BIN`` or ``IN_RELEASE``
    """
    name = recipes.name.replace("'", "")  # in a sandbox it is "recipes"
    place = f"{sandbox}{name}'"
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


ISOLATED = "-I -S"
"""Python's options in our programs: no other code is run than they name."""
