"""Write the scripts of a release, which start code of an environment."""

import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from zc.buildout.easy_install import pkg_resources

import pylonyard
from pylonyard.config import script_headers
from pylonyard.config.quoting import sh
from pylonyard.config.script_headers import IN_RELEASE, finding, header, header_of_ours
from pylonyard.environments import tools as toolbox
from pylonyard.environments.eggs_venv import search_path
from pylonyard.packages import interpreters, metadata


def interpreter(python: Path) -> str:
    return f'#!/bin/sh\nexec {sh(python)} "$@"\n'


def console(python: Path, target: str) -> str:
    """Return a script that calls ``target``, such as ``paste.script.command:run``.

    It is a shell script to the kernel, whose "#!" line takes neither spaces nor
    long paths, and a Python script to ``python``; valid in Python 2.7 as well.
    """
    module, _, function = target.partition(":")
    return python_script(
        python,
        "import sys",
        f"from {module} import {function.partition('.')[0]}",
        f"sys.exit({function}())",
    )


def python_script(python: Path, *statements: str) -> str:
    """Return a script of ``statements`` that ``python`` runs.

    :raises ValueError: if its path has a backslash, which Python would read
    """
    return "\n".join([*header(python), *statements, ""])


def tool_script(module: str, *arguments: str, names: str = "main", tools: bool = False) -> str:
    """Return a script of this package's own: ``module.main(arguments)``.

    It runs on buildout's interpreter, and finds this package where it is now, or else in
    the environment's own folder.  Nothing else is on its path but the standard library: what
    may have been tampered with is not, unless the program brings it, verified.

    :param names: what it imports of the module: ``main``, and what ``arguments`` use
    :param tools: whether it may :func:`toolbox.bring` what buildout itself runs on
    """
    home = Path(sys.executable).parent.parent
    placed = toolbox.placing(home, toolbox.TOOLS) if toolbox.TOOLS.exists() else found()
    lines = [
        *header_of_ours(interpreters.interpreter(), script_headers.ISOLATED),
        *finding(Path(pylonyard.__file__).parent.parent, IN_RELEASE),
        *(placed if tools else ()),
        f"from {module} import {names}",
        f"sys.exit(main({', '.join(arguments)}))",
    ]
    return "\n".join([*lines, ""])


def found() -> list[str]:
    """Return the statements with which a script finds the tools of this process."""
    needed = pkg_resources.working_set.resolve(pkg_resources.parse_requirements("pylonyard"))
    places = dict.fromkeys(str(each.location) for each in needed)
    words = ", ".join(map(repr, places))
    return ["from pylonyard.environments import tools", f"tools.find({words})"]


def distributions(home: Path) -> dict[str, Distribution]:
    """Return the distributions of an environment of any interpreter, by canonical name."""
    return metadata.distributions(search_path(home))


@cache
def installed(home: Path) -> Mapping[str, Distribution]:
    """Return the distributions of a complete environment, which does not change any more."""
    return distributions(home)


def entry_points(
    home: Path, requirements: Iterable[str], wanted: Iterable[str] | None = None
) -> dict[str, str]:
    """Return the console scripts of ``requirements``: name -> ``module:function``.

    :param wanted: names to choose; all if not given
    :raises ValueError: if none of ``requirements`` has a wanted script
    """
    there = installed(home)
    names = [canonicalize_name(Requirement(text).name) for text in requirements]
    found = {
        point.name: re.sub(r"\s*\[.*\]$", "", point.value)
        for name in names
        if name in there
        for point in there[name].entry_points
        if point.group == "console_scripts"
    }
    if wanted is None:
        return found
    if missing := sorted(set(wanted) - set(found)):
        raise ValueError(
            f"scripts: expected scripts of the eggs ({', '.join(sorted(found))}), "
            f"got {', '.join(missing)}"
        )
    return {name: found[name] for name in wanted}
