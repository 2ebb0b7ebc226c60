"""Run ``bin/pylonyard lock``: record each file that the current release is installed from.

An index has the SHA-256 of every file of a version, so a lock that is made here also works
for other interpreters and platforms. The files in the download cache have to agree with it.
"""

import os
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import Distribution
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from pylonyard.buildout import installed_cfg
from pylonyard.environments import cache_usage, scripts
from pylonyard.environments import tools as toolbox
from pylonyard.environments.tools import VIRTUALENV
from pylonyard.packages import builds, downloads, interpreters, metadata, mod_wsgi_sources
from pylonyard.packages.index import Offer, Places
from pylonyard.packages.interpreters import Interpreter, describe
from pylonyard.packages.lock import pylock
from pylonyard.packages.lock.fit import RECIPES, Fit, requested
from pylonyard.packages.lock.pylock import Locked
from pylonyard.packages.wheels import sha256
from pylonyard.system.atomic import write
from pylonyard.system.errors import LOOK_FIRST, CommandError, UserError

# Distributions that only other interpreters need: they are locked, but not installed here.


PYTHON_MINORS = range(10, 16)
"""The minor versions of Python 3 that the recipes run on."""


@dataclass
class Conditional:
    """A distribution that is required only where some markers hold."""

    name: str
    specifiers: list[Requirement] = field(default_factory=list)
    markers: dict[str, None] = field(default_factory=dict)

    @property
    def marker(self) -> str:
        """Return the marker of where it is required."""
        texts = list(self.markers)
        return texts[0] if len(texts) == 1 else " or ".join(f"({text})" for text in texts)

    def __str__(self) -> str:
        return f"{self.name} ({self.marker})"

    def accepts(self, version: str) -> bool:
        return all(each.specifier.contains(version, prereleases=True) for each in self.specifiers)

    def version_of(self, known: Iterable[tuple[str, str]]) -> str | None:
        """Return the first version in ``known`` (name, version) that meets all requirements."""
        for name, version in known:
            if name == self.name and self.accepts(version):
                return version
        return None


def conditional_requirements(
    distributions: Iterable[Distribution], environment: Mapping[str, str]
) -> dict[str, Conditional]:
    """Return the distributions that only other Pythons require, by canonical name.

    :param environment: the variables of markers here, such as ``python_version``
    """
    found: dict[str, Conditional] = {}
    for distribution in distributions:
        for requirement in _requirements(distribution):
            marker = requirement.marker
            if (
                marker
                and not _applies(marker, environment)
                and _applies_elsewhere(marker, environment)
            ):
                name = canonicalize_name(requirement.name)
                each = found.setdefault(name, Conditional(name))
                each.specifiers.append(requirement)
                each.markers[str(marker).replace('"', "'")] = None
    return found


def _requirements(distribution: Distribution) -> Iterator[Requirement]:
    for text in distribution.requires or ():
        try:
            yield Requirement(text)
        except InvalidRequirement:
            continue  # An outdated form, in distributions for Python 2, which we lock for no other.


def _applies(marker: Marker, environment: Mapping[str, str]) -> bool:
    return marker.evaluate({**environment, "extra": ""})


def _applies_elsewhere(marker: Marker, environment: Mapping[str, str]) -> bool:
    for minor in PYTHON_MINORS:
        full = f"3.{minor}.0"
        other = {"python_version": f"3.{minor}", "python_full_version": full}
        if _applies(marker, {**environment, **other, "implementation_version": full}):
            return True
    return False


TOOLS_MARKER = "python_version >= '3.10'"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A distribution to lock, and the interpreter that uses it."""

    name: NormalizedName
    version: str
    interpreter: Interpreter
    marker: str | None = None
    is_local: bool = False
    """True if it may have been built here, so that no index has it."""


@dataclass(frozen=True)
class LockResult:
    """The result of writing a lock."""

    number: int
    """Number of locked distributions."""
    missing: tuple[str, ...]
    """Distributions that other interpreters require, whose version is not known here."""


def command(directory: Path, file: Path, also: Iterable[str], places: Places | None) -> LockResult:
    """Write the lock of the sandbox ``directory``.

    Distributions that only other versions of Python require are locked as well, at the
    version in ``also``, in the old lock, or in a pin.

    :param places: where to look for digests; None for the download cache only
    :param also: distributions, ``name==version``, that only other interpreters need
    :raises UserError: if there is no release, or a file is missing or differs
    """
    downloads.install()
    homes = sorted({link.resolve() for link in (directory / "current").glob("*/env")})
    if not homes:
        raise UserError(f"{directory}: expected a release with an application, got none")
    cache = homes[0].parent.parent
    stated = [_pin(text) for text in also]
    elsewhere = _required_elsewhere(homes)
    wanted = list(
        _distributions_to_lock(homes, directory, [pin for pin in stated if pin[0] not in elsewhere])
    )
    known = [*stated, *_versions(file), *cache_usage.recorded_pins(directory, cache)]
    for each in elsewhere.values():
        if version := each.version_of(known):
            wanted.append(
                Wanted(
                    name=canonicalize_name(each.name),
                    version=version,
                    interpreter=describe(interpreters.interpreter()),
                    marker=each.marker,
                    is_local=places is None,
                )
            )
    locking = _Locker(cache, places)
    packages = [found for each in wanted if (found := locking.lock(each))]
    packages += _module_sources(wanted)
    lacking = elsewhere.keys() - {package.name for package in packages}
    _prove(directory, pylock.Lock(file, tuple(packages)))
    # The default folder: a shared cache is on one machine, a lock is for all.
    folder = os.path.relpath(directory / "cache" / "dist", file.parent)
    write(file, pylock.text(packages, folder).encode())
    return LockResult(len(packages), tuple(str(elsewhere[name]) for name in sorted(lacking)))


def _prove(directory: Path, lock: pylock.Lock) -> None:
    """Check that the applications of the last run can be installed from a lock alone.

    :raises UserError: naming what it lacks
    """
    with suppress(OSError, ValueError):  # without a record it is not known what was asked for
        sections = installed_cfg.parsed((directory / ".installed.cfg").read_text(encoding="utf-8"))
        for name, section in sections.items():
            if section.get("recipe") in RECIPES and (
                problems := _lacking(directory, lock, section)
            ):
                raise UserError(
                    f"[{name}] cannot lock what was installed: {'; '.join(problems)}; run "
                    "bin/buildout again where there is a network, and then this"
                )


def _lacking(directory: Path, lock: pylock.Lock, section: Mapping[str, str]) -> list[str]:
    """Return what a lock lacks of what a section has installed."""
    home = Path(section["home"])
    interpreter, found = describe(home / "bin" / "python"), scripts.distributions(home)
    projects = home.parent.parent / "projects"
    built = [
        name
        for name, each in found.items()
        if metadata.is_tree(each, home) or Path(str(each.locate_file(""))).is_relative_to(projects)
    ]
    # Another interpreter has what was built of a tree as an ordinary distribution.
    built += requested(directory, section)
    local = {name: found[name] for name in built if name in found}
    fit = Fit(
        lock,
        metadata.environment(interpreter),
        metadata.supported(interpreter),
        {},
        local,
        lambda package, _: found.get(package.name),
        lambda file: builds.required_beyond_ours(home.parent.parent / "dist" / file),
    )
    fit.check(filter(None, map(str.strip, section.get("eggs", "").splitlines())))
    for file, required in fit.builds.items():
        raise UserError(
            f"cannot lock {file}: building it requires {', '.join(required)}; lock that as well, "
            "and what it requires, each by an option: bin/pylonyard lock --with NAME==VERSION"
        )
    return list(fit.problems)


def _distributions_to_lock(
    homes: Iterable[Path], directory: Path, also: Iterable[tuple[str, str]]
) -> Iterator[Wanted]:
    own = describe(interpreters.interpreter())
    used: dict[tuple[str, str], Wanted] = {}
    for home in homes:
        for each in _installed(home, own):
            used.setdefault((each.name, each.version), each)
    for home in sorted(set(_build_environments(homes))):
        for each in _installed(home, own):
            for_builds = replace(each, marker=pylock.BUILD_MARKER)
            used.setdefault((each.name, each.version), for_builds)
    foreign = any(each.interpreter != own for each in used.values())
    listed = directory / "profiles" / "tools.txt"
    tools = [(n, v) for n, v, _ in toolbox.requirements(listed)] if listed.exists() else []
    if any(each.interpreter.series < (3, 6) for each in used.values()):
        tools += [_pin(text) for text in VIRTUALENV]
    for name, version in [*tools, *also]:
        each = Wanted(
            name=canonicalize_name(name),
            version=version,
            interpreter=own,
            marker=TOOLS_MARKER if foreign else None,
        )
        used.setdefault((each.name, each.version), each)
    yield from used.values()


def _build_environments(homes: Iterable[Path]) -> Iterator[Path]:
    """Yield the environments in which the source trees of ``homes`` were built.

    :raises UserError: if one is not there any more
    """
    for home in homes:
        for found in scripts.distributions(home).values():
            record = builds.record_of(Path(str(found.locate_file(""))))
            if record and not Path(record["environment"]).is_dir():
                raise UserError(
                    f"{record['environment']}: expected the environment that built {found.name}, "
                    "got none; change a file of its source, and run bin/buildout again"
                )
            if record:
                yield Path(record["environment"])


def _required_elsewhere(homes: Iterable[Path]) -> dict[str, Conditional]:
    """Return the distributions that other Pythons require and that are not installed here."""
    own = describe(interpreters.interpreter())
    found: dict[str, Distribution] = {}
    for home in homes:
        if describe(home / "bin" / "python").executable == own.executable:
            found.update(scripts.distributions(home))
    there = conditional_requirements(found.values(), metadata.environment(own))
    return {name: each for name, each in there.items() if name not in found}


def _versions(file: Path) -> list[tuple[str, str]]:
    """Return the distributions in the old lock."""
    try:
        return [(package.name, package.version) for package in pylock.read(file).packages]
    except pylock.LockError:
        return []


def _pin(text: str) -> tuple[str, str]:
    name, _, version = text.partition("==")
    if not version:
        raise UserError(f"expected a distribution such as legacy-cgi==2.6.4, got {text!r}")
    return canonicalize_name(Requirement(name).name), version


def _installed(home: Path, own: Interpreter) -> Iterator[Wanted]:
    interpreter = describe(home / "bin" / "python")
    is_own = interpreter.executable == own.executable
    projects = home.parent.parent / "projects"
    for name, found in scripts.distributions(home).items():
        place = Path(str(found.locate_file("")))
        if not (place.is_relative_to(projects) or metadata.is_tree(found, home)):
            yield Wanted(
                name=canonicalize_name(name),
                version=found.version,
                interpreter=own if is_own else interpreter,
                marker=None if is_own else "python_version == '{}.{}'".format(*interpreter.series),
                # From a source tree, or metadata only; pip does not tell which.
                is_local=not is_own,
            )


@dataclass(frozen=True)
class _Locker:
    """Find the files of distributions, and lock them."""

    cache: Path
    places: Places | None

    def _offers(self, wanted: Wanted) -> list[Offer]:
        try:
            return list(self.places.offers(wanted.name)) if self.places else []
        except CommandError as error:
            raise UserError(f"{error}; without an index: bin/pylonyard lock --offline") from error

    def lock(self, wanted: Wanted) -> Locked | None:
        """Return the lock's entry of a distribution; None for one that was built here."""
        files = self._files(wanted)
        if not files:
            if wanted.is_local:
                return None
            raise UserError(
                f"{wanted.name} {wanted.version}: expected a file of it in {self.cache}/dist, "
                "or in the index with a SHA-256, got none"
            )
        wheels = {name: digest for name, digest in files.items() if name.endswith(".whl")}
        sources = sorted((name, files[name]) for name in files.keys() - wheels.keys())
        return Locked(
            name=wanted.name,
            version=wanted.version,
            wheels=wheels,
            sdist=sources[-1] if sources else None,
            marker=wanted.marker,
            used=_used_file(wanted, wheels, sources),
        )

    def _files(self, wanted: Wanted) -> dict[str, str]:
        offers = [] if self.places is None else self._offers(wanted)
        offered = {each.name: each.sha256 for each in offers if _is_file_of(each.name, wanted)}
        files = {name: digest for name, digest in offered.items() if digest}
        there = [path for path in (self.cache / "dist").iterdir() if _is_file_of(path.name, wanted)]
        # What is offered nowhere was built here, of a source that is locked.
        for path in sorted(there, key=lambda path: (path.suffix == ".whl", path.name)):
            if path.name not in offered and (offered or files):
                continue
            digest = sha256(path)
            if files.setdefault(path.name, digest) != digest:
                raise UserError(
                    f"{path}: expected SHA-256 {files[path.name]}, as the index has it, "
                    f"got {digest}; {LOOK_FIRST}"
                )
        return files


def _is_file_of(name: str, wanted: Wanted) -> bool:
    """Return whether the name of a file is that of a file of the distribution."""
    found = metadata.identified(name)
    if found is None or found.name != wanted.name:
        return False
    return Version(found.version) == Version(wanted.version)


def _used_file(
    wanted: Wanted, wheels: Mapping[str, str], sources: list[tuple[str, str]]
) -> dict[str, str]:
    supported: Mapping[Tag, int] = metadata.supported(wanted.interpreter)
    best = Locked(name=wanted.name, version=wanted.version, wheels=wheels).wheel_for(supported)
    return {
        "file": best or (sources[-1][0] if sources else ""),
        "interpreter": metadata.short_name(wanted.interpreter),
        "platform": sysconfig.get_platform(),
    }


def _module_sources(wanted: Iterable[Wanted]) -> Iterator[Locked]:
    """Yield the source of mod_wsgi for each interpreter that applications run on."""
    series = {each.interpreter.series for each in wanted if each.marker != TOOLS_MARKER}
    for source in {mod_wsgi_sources.choose(each) for each in series}:
        yield Locked(
            name=canonicalize_name(mod_wsgi_sources.PROJECT),
            version=source.version,
            wheels={},
            sdist=(mod_wsgi_sources.filename(source), source.sha256),
        )
