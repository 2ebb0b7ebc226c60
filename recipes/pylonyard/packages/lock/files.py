"""Provide the files of a lock: download them if needed, and always verify them.

``Files`` downloads them, for any interpreter (a ``Target``). ``LockedEggs`` installs those of
buildout's own interpreter as eggs, without a resolver: a lock has one version of each
distribution, so it only follows the requirements in the metadata of each.
"""

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import Distribution
from pathlib import Path
from types import MappingProxyType

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import Tag, sys_tags
from packaging.utils import canonicalize_name
from packaging.version import Version

from pylonyard.config.layout import Layout
from pylonyard.packages import builds, credentials, downloads, index, interpreters, metadata
from pylonyard.packages.index import Places
from pylonyard.packages.integrity import Verified, check_file
from pylonyard.packages.interpreters import Interpreter, describe
from pylonyard.packages.lock.pylock import OUR_NAME, Lock, Locked
from pylonyard.packages.metadata import described, follow, name_of
from pylonyard.packages.missing import Missing, is_pinned, options
from pylonyard.packages.mod_wsgi_sources import PROJECT
from pylonyard.packages.wheels import WheelError, egg_name, sha256
from pylonyard.system import progress
from pylonyard.system.errors import CommandError, OptionError
from pylonyard.system.options import near


@dataclass(frozen=True)
class Target:
    """The properties of an interpreter that decide which files of a lock it uses."""

    environment: Mapping[str, str]
    """The variables of markers, such as ``python_version``."""
    tags: Mapping[Tag, int]
    """The tags of the wheels that it can use, with their ranks."""
    from_source: frozenset[str] = frozenset()
    """Canonical names of distributions that are built here, even if there are wheels."""
    eggs: Path | None = None
    """The egg directory, for the interpreter whose eggs are there."""

    @classmethod
    def of(cls, interpreter: Interpreter, from_source: Iterable[str] = ()) -> "Target":
        names = frozenset(str(canonicalize_name(name)) for name in from_source)
        return cls(metadata.environment(interpreter), metadata.supported(interpreter), names)

    def files(self, lock: Lock) -> Iterator[tuple[Locked, str]]:
        """Yield each distribution in a lock for this interpreter, and the file that is used.

        The source of mod_wsgi is one of them.
        """
        for package in lock.packages_for(self.environment):
            wheel = package.wheel_for(self.tags)
            if wheel:
                yield package, wheel
            if package.sdist and (not wheel or package.name in self.from_source):
                yield package, package.sdist[0]

    def is_installed(self, file: str) -> bool:
        if self.eggs is None or not file.endswith(".whl"):
            return False
        return (self.eggs / egg_name(Path(file))).is_dir()


@dataclass(frozen=True)
class Files:
    """The files of a lock, for one section of a buildout."""

    section: str
    lock: Lock
    layout: Layout
    places: Places
    interpreter: Interpreter | None = None
    """The interpreter of the application, if it is not buildout's own."""
    from_source: tuple[str, ...] = ()
    extra_source: Callable[[], str | None] = lambda: None
    """Returns the source archive of mod_wsgi that another part will need, if any."""
    workshop: builds.Workshop | None = None
    """Where buildout's own interpreter builds what is locked as a source."""

    def get(self, package: Locked, name: str, target: Target | None = None) -> Path:
        """Return the file ``name`` of ``package`` in the download cache.

        :param target: whose other files are downloaded together with this one
        :raises OptionError: naming it, if it cannot be had or is not what was locked
        """
        digests = {package.files[name]}
        place = self.layout.dist / name
        if target and not place.exists():
            self._get_all(target)
        try:
            if not place.exists():
                self._download(package, name, digests)
            check_file(place, digests, self.layout.cache)
        except (CommandError, WheelError) as error:
            raise OptionError(self.section, [f"lock: {error}"]) from error
        return place

    def built(
        self, package: Locked, tags: Mapping[Tag, int], build: Callable[[Path], Path]
    ) -> Path:
        """Return the wheel of a distribution that is locked as a source; build it if needed.

        It is kept in the download cache, and recognised by its SHA-256.

        :param tags: those of the wheels that are wanted
        :param build: builds a source archive; returns the wheel, which is moved from there
        :raises OptionError: if there is no source, or it cannot be had or built
        """
        if package.sdist is None:
            named = f"{package.name} {package.version}"
            raise self.mismatch_error(
                f"expected a wheel of {named} for {self.interpreter or 'this Python'}, got none"
            )
        source, digest = package.sdist
        verified = Verified(self.layout.cache)
        try:
            for wheel in self._wheels_of(package, tags):
                if verified.is_built(wheel, digest):
                    return wheel
            made = build(self.get(package, source))
        except (CommandError, WheelError) as error:
            raise OptionError(self.section, [f"lock: {error}"]) from error
        wheel = Path(shutil.move(made, self.layout.dist / made.name))
        verified.note_built(wheel, digest)
        return wheel

    def _wheels_of(self, package: Locked, tags: Mapping[Tag, int]) -> Iterator[Path]:
        for wheel in sorted(self.layout.dist.glob("*.whl")):
            found = metadata.identified(wheel.name)
            if found is None or found.name != package.name or not found.tags:
                continue
            if found.tags & tags.keys() and Version(found.version) == Version(package.version):
                yield wheel

    def _get_all(self, target: Target) -> None:
        """Download the files for ``target`` that the cache lacks, several at once.

        A file that cannot be downloaded is reported when it is needed.
        """
        if self.layout.offline:
            return
        lacking = [
            (package, file)
            for package, file in self._wanted_by(target)
            if not (self.layout.dist / file).exists()
        ]
        brought = downloads.in_parallel(lambda each: self.get(*each), lacking)
        doing = progress.of("Downloading", len(lacking), unit="files")
        with contextlib.suppress(OptionError), doing as step:
            for (_, file), _ in brought:
                step.at(step.done + 1, file)

    def package(
        self, wanted: Requirement, environment: Mapping[str, str], pins: Mapping[str, str]
    ) -> Locked:
        """Return the distribution that meets a requirement.

        :param environment: what markers are about, as ``python_version``
        :param pins: versions that the configuration names, by canonical name
        :raises OptionError: if the lock has none, or another than the pins
        """
        name = canonicalize_name(wanted.name)
        package = self.lock.find(name, environment, wanted)
        if package is None:
            alike = near(name, {each.name for each in self.lock.packages})
            raise self.mismatch_error(f"expected {wanted}, got none", alike)
        if package.unverifiable:
            line = f", line {package.line}" if package.line else ""
            problem = f"lock: {self.lock.path}{line}: {name}: {package.unverifiable}"
            advice = f"name its source tree in sources or develop of [{self.section}]"
            raise OptionError(self.section, [f"{problem}; {advice}, or lock a release of it"])
        if (pin := pins.get(name)) and not is_pinned(package.version, pin):
            raise self.mismatch_error(
                f"expected {name} {pin}, as versions has it, got {package.version}"
            )
        return package

    def targets(self) -> Iterator[Target]:
        """Yield the interpreters for which the lock has files: buildout's own is one."""
        yield replace(Target.of(describe(interpreters.interpreter())), eggs=self.layout.eggs)
        if self.interpreter:
            yield Target.of(self.interpreter, self.from_source)

    def missing(self, name: str) -> str:
        """Return the line that names all files which the cache lacks, including ``name``."""
        wanted = [file for target in self.targets() for _, file in self._wanted_by(target)]
        wanted += filter(None, [name, self.extra_source()])
        lacking = Missing({file: None for file in wanted if not (self.layout.dist / file).exists()})
        words = options(self.layout, self.places, self.lock.path)
        return lacking.message(self.layout, words)

    def _offer(self, package: Locked, name: str) -> index.Offer | None:
        """Return where to get a file: its path in the lock, find-links, the index, or its URL."""
        place = credentials.KNOWN.take(package.places.get(name, ""))
        if place.startswith("/") and os.path.isfile(place):
            return index.Offer(place)
        is_url = "://" in place and self.places.allow(place)
        try:
            found = index.find(self.places, package.name, name)
        except CommandError:
            if not is_url:
                raise
            found = None
        return found or (index.Offer(place) if is_url else None)

    def _wanted_by(self, target: Target) -> Iterator[tuple[Locked, str]]:
        """Yield the distributions for ``target``, without existing eggs, and mod_wsgi."""
        for package, file in target.files(self.lock):
            if package.name != canonicalize_name(PROJECT) and not target.is_installed(file):
                yield package, file

    def mismatch_error(self, problem: str, alike: str = "") -> OptionError:
        """Return the error that the lock does not match the configuration, with advice.

        :param alike: "; did you mean ...?", or nothing
        """
        advice = f"make a new one: bin/buildout {self.section}:lock= and then bin/pylonyard lock"
        if self.lock.maker != OUR_NAME:
            advice = f"have {self.lock.maker} lock that, and write the file again"
        return OptionError(self.section, [f"lock: {problem} in {self.lock.path}{alike}; {advice}"])

    def _download(self, package: Locked, name: str, digests: set[str]) -> None:
        if self.layout.offline:
            raise OptionError(self.section, [f"lock: {self.missing(name)}"])
        offer = self._offer(package, name)
        if offer is None:
            raise CommandError(
                f"cannot get {name}", "neither find-links nor the index has a file of that name"
            )
        self.places.bring(
            offer, self.layout.dist, lambda file: check_file(file, digests, self.layout.cache)
        )


@functools.cache
def own_tags() -> Mapping[Tag, int]:
    """Return the tags that this interpreter supports, with their ranks."""
    return {tag: rank for rank, tag in enumerate(sys_tags())}


class LockedEggs:
    """A working set that grows by the requirements of its members."""

    def __init__(
        self,
        files: Files,
        pins: Mapping[str, str],
        developed: Mapping[str, Distribution] = MappingProxyType({}),
    ) -> None:
        """Start with the distributions that are there.

        :param pins: versions that the configuration names; the lock has to agree
        :param developed: what ``develop`` of ``[buildout]`` gives, by canonical name
        """
        self.developed = developed
        self.used: set[Path] = set()
        """The folders of used distributions that ``[buildout]`` gives."""
        self.files = files
        self.pins = {str(canonicalize_name(name)): pin for name, pin in pins.items()}
        self.environment = {k: str(v) for k, v in default_environment().items()}
        self.verified = Verified(files.layout.cache)
        self.found: dict[str, Path] = {}
        """The egg of each distribution, by its name."""
        self.described: dict[str, Distribution] = {}
        self.wanted: dict[Path, set[str]] = {}
        """The wheels of eggs to install or verify, with their SHA-256."""

    def locations(self, requirements: Iterable[str], projects: Sequence[Path]) -> list[Path]:
        """Return the folders of all distributions for ``requirements``, in order.

        :param projects: folders of built source trees, preferred to any egg
        :raises OptionError: naming what differs from the lock or the pins
        """
        built = {name_of(each): each for each in map(described, projects)}
        self._follow(map(Requirement, requirements), built)
        if "setuptools" not in self.found and any(
            map(_has_old_namespaces, self.described.values())
        ):
            self._follow([Requirement("setuptools")], built)
        try:
            self.verified.install_all(self.wanted, self.files.layout.eggs)
        except WheelError as error:
            raise OptionError(self.files.section, [f"lock: {error}"]) from error
        return [*(self.found[name] for name in sorted(self.found)), *projects, *sorted(self.used)]

    def _follow(
        self, requirements: Iterable[Requirement], built: Mapping[str, Distribution]
    ) -> None:
        def get(wanted: Requirement) -> Distribution:
            name = canonicalize_name(wanted.name)
            distribution = built.get(name) or self._developed(name) or self._egg(wanted)
            if not wanted.specifier.contains(distribution.version, prereleases=True):
                raise self.files.mismatch_error(f"expected {wanted}, got {distribution.version}")
            return distribution

        follow(requirements, get, self.environment)

    def _developed(self, name: str) -> Distribution | None:
        found = self.developed.get(name)
        if found:
            self.used.add(Path(str(found.locate_file(""))))
        return found

    def _egg(self, wanted: Requirement) -> Distribution:
        name = canonicalize_name(wanted.name)
        if name not in self.found:
            package = self.files.package(wanted, self.environment, self.pins)
            self.found[name], place = self._placed(package)
            self.described[name] = described(place)
        return self.described[name]

    def _placed(self, package: Locked) -> tuple[Path, Path]:
        """Return the future path of a distribution's egg, and its metadata until then."""
        wheel, layout = package.wheel_for(own_tags()), self.files.layout
        if wheel is None:
            with tempfile.TemporaryDirectory() as scratch:
                build = functools.partial(
                    builds.build_archive, scratch=Path(scratch), workshop=self.files.workshop
                )
                built = self.files.built(package, own_tags(), build)
            self.wanted[built] = {sha256(built)}
            return layout.eggs / egg_name(built), built
        digests = {package.wheels[wheel]}
        egg = layout.eggs / egg_name(Path(wheel))
        if self.verified.unchanged(egg, digests):
            return egg, egg
        place = self.files.get(
            package, wheel, Target(self.environment, own_tags(), eggs=layout.eggs)
        )
        self.wanted[place] = digests
        return egg, place


def _has_old_namespaces(found: Distribution) -> bool:
    """Return whether a distribution has namespaces that need pkg_resources at run time."""
    return bool((found.read_text("namespace_packages.txt") or "").strip())
