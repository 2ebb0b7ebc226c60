"""Make environments for interpreters other than buildout's own.

Each is a virtual environment of that interpreter with everything
installed by pip from wheels at pinned versions.  It is made where it stays,
since a virtual environment cannot be moved, and counts once ``complete`` stands
in it; one that a killed run left without is removed.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from pylonyard.config.layout import Layout
from pylonyard.environments.eggs_venv import PTH, make_empty, search_path, site_packages
from pylonyard.environments.tools import VIRTUALENV, VIRTUALENV_WHEELS
from pylonyard.packages import (
    builds,
    metadata,
    missing,
    pip_errors,
    source_trees,
    zc_installer,
)
from pylonyard.packages.builds import project_name, unpacked, wheel_without_setup_requires
from pylonyard.packages.index import Places
from pylonyard.packages.interpreters import Interpreter
from pylonyard.packages.resolver.pins import is_range
from pylonyard.packages.wheels import egg_name
from pylonyard.system import atomic, locks
from pylonyard.system.atomic import write
from pylonyard.system.errors import CommandError, OptionError
from pylonyard.system.subprocesses import run

log = logging.getLogger("pylonyard")

COMPLETE = "complete"

_PYTHON = re.compile(r"pythonw?[0-9.]*")
"""Names of the interpreter in an environment."""

# The last releases that serve an interpreter; a pin of the section decides first.
LAST_RELEASES: Mapping[tuple[int, int], Mapping[str, str]] = {
    (2, 7): {"pip": "20.3.4", "setuptools": "44.1.1", "wheel": "0.37.1"},
    (3, 6): {"pip": "21.3.1", "setuptools": "59.6.0", "wheel": "0.37.1"},
    (3, 7): {"pip": "24.0", "setuptools": "68.0.0", "wheel": "0.42.0"},
    (3, 8): {"pip": "25.0.1", "setuptools": "75.3.2", "wheel": "0.45.1"},
    (3, 9): {"pip": "25.3", "setuptools": "80.9.0", "wheel": "0.45.1"},
}

CURRENT = {"pip": "26.3", "setuptools": "81.0.0", "wheel": "0.48.0", "packaging": "26.3"}
"""What serves every other interpreter; bin/buildout's own, as ``versions-tools.cfg`` has them."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All inputs that decide the contents of an environment."""

    interpreter: Interpreter
    requirements: tuple[str, ...]
    pins: Mapping[str, str]
    develop: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    extra_paths: tuple[Path, ...] = ()
    provided: tuple[tuple[str, str], ...] = ()
    """Distributions that the standard library replaces: name, version."""
    without_setup_requires: tuple[str, ...] = ()
    """Projects whose ``setup_requires`` can no longer be met."""
    locked: str = ""
    """A digest of the lock, if there is one."""
    links: tuple[str, ...] = field(default=(), compare=False)
    index: str | None = field(default=None, compare=False)
    extra_source: zc_installer.ExtraSource = field(
        default=zc_installer.no_extra_source, compare=False
    )
    """Returns the source archive that another part will need, if any."""

    @cached_property
    def source_digests(self) -> list[str]:
        """Return the digest of each tree that is built; what is built has to have it, too."""
        return [source_trees.digest(source, editable=False) for source in self.sources]

    def digest(self) -> str:
        developed = (source_trees.digest(source, editable=True) for source in self.develop)
        given = [*developed, *self.source_digests]
        held = [
            [str(self.interpreter.executable), self.interpreter.series, self.interpreter.abi],
            sorted(self.requirements),
            sorted(self.pins.items()),
            given,
            [str(path) for path in self.extra_paths],
            sorted(self.provided),
            sorted(self.without_setup_requires),
            *([self.locked] if self.locked else []),
        ]
        return hashlib.sha256(json.dumps(held).encode()).hexdigest()[:20]


def make(
    buildout: Any,
    section: str,
    contents: Contents,
    build: "Callable[..., Build] | None" = None,
    home: Path | None = None,
) -> Path:
    """Return the environment with ``contents``; build it if there is none yet.

    :param build: how; by default :class:`Build`
    :param home: where; by default where all who use the cache look for it
    :raises OptionError: if something cannot be had or built
    """
    layout = Layout.of(buildout)
    home = home or layout.environments / contents.digest()
    if (home / COMPLETE).exists():
        return home
    layout.environments.mkdir(parents=True, exist_ok=True)
    with locks.wait_for(layout.environments / f".{home.name}.lock"):
        if not (home / COMPLETE).exists():
            if home.exists():
                shutil.rmtree(home)
            log.info("Making an environment of %s.", contents.interpreter)
            (build or Build)(buildout, section, contents, home).build()
            write(home / COMPLETE, b"")
    return home


class Build:
    """The build of an environment."""

    def __init__(self, buildout: Any, section: str, contents: Contents, home: Path) -> None:
        self.buildout = buildout
        self.section = section
        self.contents = contents
        self.home = home
        self.layout = Layout.of(buildout)
        last = LAST_RELEASES.get(contents.interpreter.series, {})
        own = {str(canonicalize_name(name)): pin for name, pin in contents.pins.items()}
        self.pins = _laid_over(last or _tool_pins(buildout), own)
        self.wheels = self.layout.dist
        self.local: dict[str, Path] = {}
        """Wheels that were built only for this environment, by project."""

    def build(self) -> None:
        with atomic.draft(self.layout.environments) as scratch:
            try:
                self._lay_out()
                self._install(["pip", "setuptools", "wheel"], [self._fetched_tools()])
                self._fill(scratch)
            except (CommandError, OptionError) as error:
                if self.layout.offline:
                    self.tell_missing(error)
                if isinstance(error, OptionError):
                    raise
                raise OptionError(self.section, [f"eggs: {error}"]) from error
        self._add_paths()

    def tell_missing(self, error: Exception) -> None:
        """Raise an error that names all files that the cache lacks, if any.

        :raises OptionError: with the command that fetches it
        """
        contents, interpreter = self.contents, self.contents.interpreter
        shelf = missing.Shelf(self.layout.dist, metadata.supported(interpreter))
        wanted = [*self._tools(), *contents.requirements]
        local: list[Path | str] = [name for name, _ in contents.provided]
        local += self.local.values()
        found = missing.find(wanted, shelf, self.pins, metadata.environment(interpreter), local)
        if interpreter.series < (3, 6):
            found |= missing.Missing(dict.fromkeys(self._missing_wheels()))
        if not found and "No matching distribution" in str(error):
            found = missing.Missing(found.perhaps)
        zc_installer.raise_missing(
            self.buildout, self.section, found, self._searched, interpreter, contents.extra_source
        )

    @property
    def _searched(self) -> Places:
        return Places(self.contents.links, self.contents.index)

    def _missing_wheels(self) -> Iterator[str]:
        """Yield the wheels of virtualenv that are neither in the cache nor installed."""
        for name in VIRTUALENV_WHEELS:
            egg = self.layout.eggs / egg_name(Path(name))
            if not (egg.is_dir() or (self.layout.dist / name).exists()):
                yield name

    def _lay_out(self) -> None:
        base = self.contents.interpreter
        if base.series >= (3, 6):
            make_empty(self.home, base.executable, base.version)
            return
        command = [sys.executable, "-m", "virtualenv", "--quiet", "--no-download"]
        command += ["--no-pip", "--no-setuptools", "--no-wheel", "--activators", ""]
        command += ["--python", str(base.executable), str(self.home)]
        path = os.pathsep.join(map(str, self._virtualenv()))
        run(
            command,
            "cannot make a virtual environment",
            environment=_pip_environment(path),
            doing=f"Making an environment of {base}",
        )

    def _virtualenv(self) -> list[Path]:
        return zc_installer.tool_path(self.buildout, self.section, VIRTUALENV)

    def _tools(self) -> list[str]:
        """Return the first distributions of the environment, as requirements."""
        names = ["pip", "setuptools", "wheel", *(["packaging"] if "packaging" in self.pins else [])]
        return [f"{name}{missing.specifier(self.pins[name])}" for name in names]

    def _fetched_tools(self) -> Path:
        """Download pip, setuptools and wheel to the cache; return its folder."""
        for pinned in self._tools():
            zc_installer.fetch(self.buildout, self.section, pinned)
        return self.layout.dist

    def _fill(self, scratch: Path) -> None:
        contents = self.contents
        for name, version in contents.provided:
            builds.make_metadata_wheel(scratch, name, version)
        for source in (*contents.sources, *contents.develop):
            self._build_source(self._copied_tree(source, scratch), scratch)
        self._build_without_setup_requires(scratch)
        self._bring_wheels(contents.requirements, scratch)
        self._install(contents.requirements, [scratch, self.wheels])
        self._check_pins()
        for source in contents.develop:
            self._pip("install", *self._build_options(source, scratch), "--editable", source)

    def _copied_tree(self, tree: Path, scratch: Path) -> Path:
        """Return a copy of a source tree, to be built: what is built is what has the digest.

        :raises OptionError: if the tree has changed since
        """
        contents, copied = self.contents, source_trees.copy(tree, scratch)
        wanted = dict(zip(contents.sources, contents.source_digests, strict=True)).get(tree)
        if wanted not in (None, source_trees.digest(tree, editable=False, copied=copied)):
            raise OptionError(self.section, [f"sources: {tree} has changed; run this again"])
        return copied

    def _build_source(self, tree: Path, scratch: Path) -> None:
        without = {canonicalize_name(name) for name in self.contents.without_setup_requires}
        if without and canonicalize_name(project_name(self.home, tree)) in without:
            wheel_without_setup_requires(self.home, tree, scratch)
        else:
            self._pip("wheel", *self._build_options(tree, scratch), "--wheel-dir", scratch, tree)
        self._note_local(scratch)

    def _build_without_setup_requires(self, scratch: Path) -> None:
        for name in self.contents.without_setup_requires:
            if canonicalize_name(name) not in self.local:
                with unpacked(self._source(f"{name}=={self._pin(name)}")) as tree:
                    wheel_without_setup_requires(self.home, tree, scratch)
        self._note_local(scratch)

    def _source(self, pinned: str) -> Path:
        return zc_installer.fetch(self.buildout, self.section, pinned, source=True)

    def _note_local(self, scratch: Path) -> None:
        self.local = {_project(wheel): wheel for wheel in scratch.glob("*.whl")}

    def _pin(self, name: str) -> str:
        try:
            return self.pins[canonicalize_name(name)]
        except KeyError:
            raise OptionError(self.section, [f"versions: expected a pin of {name}"]) from None

    def _bring_wheels(self, wanted: Sequence[str], scratch: Path) -> None:
        """Build or download the required wheels to the cache."""
        if self.layout.offline:
            return
        log.info("Bringing the wheels of %s into %s.", ", ".join(wanted), self.layout.dist)
        options = [*self._places(scratch), *self._constraints(scratch)]
        self._pip("wheel", "--wheel-dir", scratch / "brought", *options, *wanted)
        for wheel in sorted((scratch / "brought").glob("*.whl")):
            place = self.layout.dist / wheel.name
            # A wheel that was built only for this environment stays out of the shared cache.
            if not place.exists() and not (scratch / wheel.name).exists():
                write(place, wheel.read_bytes())

    def _build_options(self, source: Path, scratch: Path) -> list[str | Path]:
        options: list[str | Path] = ["--no-deps", *self._places(scratch)]
        # The pinned setuptools is there already, and a second takes ten seconds.
        have = {name: self.pins[name] for name in ("setuptools", "wheel")}
        if source_trees.are_met(source_trees.build_requirements(source), have):
            options.append("--no-build-isolation")
        return options

    def _places(self, scratch: Path) -> list[str | Path]:
        """Return pip's options for the places to search, also for build requirements."""
        if self.layout.offline:
            return ["--no-index", "--find-links", self.layout.dist]
        options: list[str | Path] = ["--find-links", scratch, "--find-links", self.layout.dist]
        return [*options, *self._searched.pip_options()]

    def _install(self, wanted: Sequence[str], places: Iterable[Path]) -> None:
        options: list[str | Path] = ["--no-index", "--no-warn-script-location"]
        for place in places:
            options += ["--find-links", place]
        with tempfile.TemporaryDirectory() as folder:
            self._pip("install", *options, *self._constraints(Path(folder)), *wanted)

    def _constraints(self, folder: Path) -> list[str | Path]:
        path = folder / "constraints.txt"
        lines = {name: f"{name}{missing.specifier(pin)}" for name, pin in self.pins.items()}
        # An index may have a newer project, of somebody else's, by the same name.
        lines |= {name: f"{name} @ {wheel.as_uri()}" for name, wheel in self.local.items()}
        path.write_text("\n".join(lines[name] for name in sorted(lines)) + "\n")
        return ["--constraint", path]

    def _pip(self, *words: str | Path) -> None:
        """Run the environment's pip; before it is installed, from its wheel."""
        (wheel,) = self.wheels.glob(f"pip-{self.pins['pip']}-*.whl")
        options = ["--disable-pip-version-check", "--no-input"]
        command = [self.home / "bin" / "python", f"{wheel}/pip", *options, *words]
        what = {"wheel": "Building and downloading", "install": "Installing"}[str(words[0])]
        doing = f"{what} for {self.contents.interpreter}"
        run(
            command,
            "pip",
            environment=self._environment(),
            reason=lambda output: pip_errors.reason(output, self.layout.build_logs),
            timeout=3600,
            doing=doing,
        )

    def _environment(self) -> dict[str, str]:
        logins = {} if self.layout.offline else self._searched.pip_variables()
        return {**_pip_environment(), **logins}

    def _check_pins(self) -> None:
        """Refuse distributions at a version that is neither pinned nor built here.

        One that has put its script in the place of the interpreter is refused as well.
        """
        there = sorted(metadata.distributions(search_path(self.home)).items())
        known = self.pins.keys() | self.local.keys()
        loose = [f"{name} = {found.version}" for name, found in there if name not in known]
        if problems := [problem for _, found in there for problem in replacing(found)]:
            raise OptionError(self.section, [f"eggs: {problem}" for problem in problems])
        if loose:
            raise OptionError(
                self.section, [f"versions: expected pins for all, got none for {', '.join(loose)}"]
            )

    def _add_paths(self) -> None:
        lines = [str(path) for path in self.contents.extra_paths]
        write(site_packages(self.home) / PTH, "\n".join([*lines, ""]).encode())


def replacing(found: Distribution) -> Iterator[str]:
    """Tell which scripts of a distribution pip puts in the place of an environment's Python."""
    for point in found.entry_points:
        if point.group in ("console_scripts", "gui_scripts") and _PYTHON.fullmatch(point.name):
            named = f"{found.metadata['Name']} {found.version}"
            yield f"expected no script called {point.name}, got one of {named}"


def _tool_pins(buildout: Any) -> dict[str, str]:
    """Return the pins of pip and the like for a current Python: of ``[versions]``, or ours."""
    versions = buildout.get(buildout["buildout"]["versions"]) or {}
    return _laid_over(CURRENT, {name: versions[name] for name in CURRENT if name in versions})


def _laid_over(tools: Mapping[str, str], pins: Mapping[str, str]) -> dict[str, str]:
    """Return the pins of ``tools`` with ``pins`` over them; a range names no version of a tool."""
    named = {n: pin for n, pin in pins.items() if n not in tools or not is_range(pin)}
    return {**tools, **named}


def _pip_environment(python_path: str = "") -> dict[str, str]:
    """Return our variables, so that pip finds proxies and indexes, without Python's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return {**kept, "PYTHONWARNINGS": "ignore", "PYTHONPATH": python_path}


def _project(wheel: Path) -> str:
    return str(canonicalize_name(wheel.name.partition("-")[0]))
