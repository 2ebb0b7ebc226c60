"""Write the scripts of a release, which start code of an environment."""

import csv
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import Distribution
from pathlib import Path
from types import MappingProxyType
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from zc.buildout import easy_install

import pylonyard
from pylonyard.config.converters import sh
from pylonyard.config.layout import IN_RELEASE
from pylonyard.environments import eggs_venv, tools
from pylonyard.environments.eggs_venv import search_path
from pylonyard.environments.tools import ISOLATED, header, header_of_ours, package_statements
from pylonyard.packages import interpreters, metadata
from pylonyard.packages.wheels import member_path
from pylonyard.system.subprocesses import run


def interpreter(python: Path, initialization: str = "") -> str:
    """Return a script that is ``python``, or zc.buildout's own with an ``initialization``."""
    if not initialization:
        return f'#!/bin/sh\nexec {sh(python)} "$@"\n'
    text = easy_install.py_script_template % {
        "python": "",
        "path": "",
        "relative_paths_setup": "",
        "initialization": initialization,
    }
    return python_script(python, text.partition("\n")[2].strip())


def console(python: Path, target: str, initialization: str = "", arguments: str = "") -> str:
    """Return a script that calls ``target``, such as ``paste.script.command:run``.

    It is a shell script to the kernel, whose "#!" line takes neither spaces nor
    long paths, and a Python script to ``python``; valid in Python 2.7 as well.

    :param initialization: Python code to run first
    :param arguments: those of the call, as Python code
    """
    module, _, function = target.partition(":")
    return python_script(
        python,
        "import sys",
        *([initialization] if initialization else []),
        f"import {module}",
        "",
        "if __name__ == '__main__':",
        f"    sys.exit({module}.{function}({arguments}))",
    )


_LONGEST_LINE = 127
"""Bytes of a first line that every kernel reads."""


def whole(python: Path, script: str, initialization: str = "") -> str:
    """Return a script of a distribution, such as ``scripts`` of its ``setup.py`` names."""
    lines = script.splitlines()[1:]
    first = next(
        (n for n, line in enumerate(lines) if re.match(r"(import|from) (?!__future__)", line)),
        len(lines),
    )
    lines[first:first] = [initialization] if initialization else []
    line = f"#!{python}"
    if len(os.fsencode(line)) < _LONGEST_LINE and not re.search(r"\s", line):
        return "\n".join([line, "# -*- coding: utf-8 -*-", *lines, ""])
    # This changes __doc__, and __future__ imports do not work.
    return python_script(python, *lines)


def python_script(python: Path, *statements: str) -> str:
    """Return a script of ``statements`` that ``python`` runs.

    :raises ValueError: if its path has a backslash, which Python would read
    """
    return "\n".join([*header(python), *statements, ""])


_CHECK = "import os, sys; compile(os.fdopen(0, 'rb').read(), '', 'exec')"


def check(python: Path, code: str) -> None:
    """Have ``python`` read ``code``, without running it.

    :raises CommandError: if it has an error
    """
    text = f"# -*- coding: utf-8 -*-\n{code}\n"
    run([python, "-c", _CHECK], "code", stdin=text)


def tool_script(
    directory: Path, module: str, *arguments: str, names: str = "main", with_tools: bool = False
) -> str:
    """Return a script of this package's own: ``module.main(arguments)``.

    It runs on buildout's interpreter, and finds this package where it is now, or else in
    the environment's own folder.  Nothing else is on its path but the standard library: other
    code may have been tampered with, so the program verifies it before it loads it.

    :param directory: the sandbox that it is for
    :param names: what it imports of the module: ``main``, and what ``arguments`` use
    :param with_tools: whether it may :func:`tools.load` what buildout itself runs on
    """
    home = Path(sys.executable).parent.parent
    # An ordinary zc.buildout may also use a checkout of ours, by "develop".
    statements = (
        tools.environment_statements(home, tools.TOOLS)
        if eggs_venv.is_eggs_venv(home)
        else folder_statements()
    )
    lines = [
        *header_of_ours(interpreters.interpreter(), ISOLATED, directory),
        *package_statements(Path(pylonyard.__file__).parent.parent, directory, IN_RELEASE),
        *(statements if with_tools else ()),
        f"from {module} import {names}",
        f"sys.exit(main({', '.join(arguments)}))",
    ]
    return "\n".join([*lines, ""])


def folder_statements() -> list[str]:
    """Return the statements with which a script finds the tools of this process."""
    places = dict.fromkeys(str(each.location) for each in own_distributions())
    words = ", ".join(map(repr, places))
    return ["from pylonyard.environments import tools", f"tools.set_folders({words})"]


def own_distributions() -> list[Any]:
    """Return the distributions that this package needs, itself among them, in this process."""
    wanted = easy_install.pkg_resources.parse_requirements("pylonyard")
    found: list[Any] = easy_install.pkg_resources.WorkingSet(sys.path).resolve(wanted)
    return found


def distributions(home: Path) -> dict[str, Distribution]:
    """Return the distributions of an environment of any interpreter, by canonical name."""
    return metadata.distributions(search_path(home))


@cache
def installed(home: Path) -> Mapping[str, Distribution]:
    """Return the distributions of a complete environment, which does not change any more."""
    return distributions(home)


Source = str | Path
"""What a script is made of: ``module:function`` to call, or a script that a distribution has."""

_TOOLS = {"pip", "setuptools", "wheel"}
"""What an environment may have besides the application and its requirements."""


def available(
    home: Path, requirements: Iterable[str], *, dependent: bool = False
) -> dict[str, Source]:
    """Return the scripts of ``requirements``, by name.

    :param dependent: whether also those of all distributions that they need
    """
    there = installed(home)
    names: list[str] = [canonicalize_name(Requirement(text).name) for text in requirements]
    found: dict[str, Source] = {}
    for name in sorted(there.keys() - set(names) - _TOOLS) if dependent else ():
        found |= _scripts_of(there[name])
    for name in filter(there.__contains__, names):
        found |= _scripts_of(there[name])
    return found


def _scripts_of(found: Distribution) -> dict[str, Source]:
    """Return the scripts of a distribution, by name."""
    points = {
        point.name: re.sub(r"\s*\[.*\]$", "", point.value)
        for point in found.entry_points
        if point.group == "console_scripts"
    }
    return {**{file.name: file for file in _whole_scripts(found)}, **points}


def ambiguous(
    home: Path, requirements: Iterable[str], settled: Collection[str] = ()
) -> dict[str, list[str]]:
    """Return the names of scripts that several of ``requirements`` have, each with these.

    :param settled: names for which the script is decided
    """
    there, owners = installed(home), dict[str, dict[str, Source]]()
    for text in requirements:
        name = canonicalize_name(Requirement(text).name)
        for script, source in _scripts_of(there[name]).items() if name in there else ():
            owners.setdefault(script, {})[name] = source
    return {
        script: list(each)
        for script, each in owners.items()
        if len(set(each.values())) > 1 and script not in settled
    }


def write_all(home: Path, folder: Path) -> None:
    """Write the commands of all distributions of an environment into ``folder``.

    A build calls them by name, such as meson and ninja; nothing else uses them.
    """
    folder.mkdir(exist_ok=True)
    for found in installed(home).values():
        for program in _programs(found):
            (folder / program.name).unlink(missing_ok=True)
            (folder / program.name).symlink_to(program)
    for name, source in available(home, installed(home)).items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(text(home / "bin" / "python", source), encoding="utf-8")
        (folder / name).chmod(0o755)


def _whole_scripts(found: Distribution) -> Iterator[Path]:
    """Yield the Python scripts of a distribution that call no entry point."""
    for path in _programs(found):
        with path.open("rb") as stream:
            if re.match(b"#!.*python", stream.readline(200)):
                yield path


def _programs(found: Distribution) -> Iterator[Path]:
    """Yield the files that a distribution has for ``bin``: scripts, and compiled programs."""
    record = (found.read_text("RECORD") or "").splitlines()
    for name, *_ in filter(None, csv.reader(record)):
        if ".data/scripts/" in name:
            name = str(member_path(name))
        elif not name.startswith("../../../bin/"):
            continue
        path = Path(os.path.normpath(str(found.locate_file(name))))
        if path.is_file():
            yield path


def chosen(
    found: Mapping[str, Source],
    wanted: Iterable[tuple[str, str]] | None,
    unclear: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[tuple[str, Source]]:
    """Return scripts under their new names.

    :param wanted: the name of a script, and the one to give it; None for all as they are
    :param unclear: the distributions of each script that several have
    :raises ValueError: if there is no such script, or two of one name
    """
    pairs = [(name, name) for name in found] if wanted is None else list(wanted)
    for name in sorted({name for name, _ in pairs} & unclear.keys()):
        raise ValueError(
            f"scripts: expected one script {name}, got those of {' and '.join(unclear[name])}; say "
            f"which one it is: entry-points = {name}=MODULE:FUNCTION"
        )
    if missing := sorted({name for name, _ in pairs} - found.keys()):
        raise ValueError(
            f"scripts: expected scripts of the eggs ({', '.join(sorted(found))}), "
            f"got {', '.join(missing)}"
        )
    given = [other for _, other in pairs]
    if twice := sorted({name for name in given if given.count(name) > 1}):
        raise ValueError(f"scripts: expected a name for each, got {', '.join(twice)} twice")
    return [(other, found[name]) for name, other in pairs]


def text(python: Path, source: Source, initialization: str = "", arguments: str = "") -> str:
    """Return a script of ``python``."""
    if isinstance(source, str):
        return console(python, source, initialization, arguments)
    return whole(python, source.read_text(encoding="utf-8"), initialization)


# The tests of an application: which command runs them, and where they are.

RUNNERS = {"pytest": "pytest", "unittest": "", "zope.testrunner": "zope.testrunner"}
"""The modules that run tests, and the distribution of each; the standard library has one."""

# Not -m: the working folder would come first, so its code would be tested, not the installed one.
_RUN = (
    "import runpy, sys; sys.path.append(sys.path.pop(0)); "
    "runpy.run_module({!r}, None, '__main__', True)"
)


def test_command(home: Path, runner: str) -> list[str]:
    """Return the command that runs tests in an environment.

    :raises ValueError: if the environment has no such runner
    """
    needed = RUNNERS[runner]
    if needed and canonicalize_name(needed) not in installed(home):
        raise ValueError(f"tests: expected {needed} in the environment, got none; add it to eggs")
    return [str(home / "bin" / "python"), "-c", _RUN.format(runner)]


def tests_in_tree(runner: str, tree: Path, made: Iterable[Path]) -> list[str]:
    """Return the words by which a runner that works in ``tree`` finds the tests there.

    :param made: folders of a sandbox, which may be in the tree
    """
    inside = [path for path in made if path.is_relative_to(tree)]
    if runner == "pytest":  # its own configuration says where they are
        return [f"--ignore={path}" for path in inside]
    if runner == "zope.testrunner":
        if (tree / "tests" / "__init__.py").exists():
            return ["--path", str(tree), "--package", "tests"]
        ignored = [word for path in inside for word in ("--ignore_dir", path.name)]
        return ["--test-path", str(tree / "src" if (tree / "src").is_dir() else tree), *ignored]
    folder = next((name for name in ("tests", "test") if (tree / name).is_dir()), "")
    if folder and not (tree / folder / "__init__.py").exists():
        return ["discover", "-s", folder]
    source = "src" if not folder and (tree / "src").is_dir() else "."
    return ["discover", "-s", folder or source, "-t", source]


def tests_installed(runner: str, home: Path, name: str) -> list[str]:
    """Return the words by which a runner finds the tests in an installed distribution.

    :raises ValueError: if that has no modules
    """
    found = installed(home)[canonicalize_name(name)]
    files = [row[0] for row in csv.reader((found.read_text("RECORD") or "").splitlines()) if row]
    folders = {file.rpartition("/")[0] for file in files if file.endswith("/__init__.py")}
    # Of a namespace only the part that is this distribution's.
    tops = {each for each in folders if each.rpartition("/")[0] not in folders}
    packages = {each.replace("/", ".") for each in tops}
    modules = {file[:-3] for file in files if file.endswith(".py") and "/" not in file}
    named = sorted(packages) + sorted(modules)
    if not named:
        raise ValueError(f"tests: expected modules in {name}, got none")
    if runner == "pytest":
        return ["-p", "no:cacheprovider", "--pyargs", *named]
    place = str(found.locate_file(""))
    if runner == "zope.testrunner":
        words = [word for name in named for word in ("--package", name)]
        return ["--test-path", place, *words]
    return ["discover", "-s", named[0], "-t", place] if packages else [named[0]]
