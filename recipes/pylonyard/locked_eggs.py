"""The eggs of buildout's own interpreter, taken from a lock without any resolution.

A lock has one version of each distribution, so what is left is to follow the
requirements from one to the next, as their metadata states them.
"""

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, sys_tags
from packaging.utils import canonicalize_name

from pylonyard.errors import OptionError
from pylonyard.integrity import Verified
from pylonyard.locked_files import Files
from pylonyard.pylock import Locked
from pylonyard.wheels import WheelError, egg_name


@functools.cache
def own_tags() -> Mapping[Tag, int]:
    """Return the tags that this interpreter supports, with their ranks."""
    return {tag: rank for rank, tag in enumerate(sys_tags())}


class LockedEggs:
    """A working set that grows by what its members require."""

    def __init__(self, files: Files, pins: Mapping[str, str]) -> None:
        """:param pins: versions that the configuration names; the lock has to agree."""
        self.files = files
        self.pins = {canonicalize_name(name): version for name, version in pins.items()}
        self.verified = Verified(files.layout.cache)
        self.found: dict[str, Path] = {}

    def locations(self, requirements: Iterable[str], projects: Sequence[Path]) -> list[Path]:
        """Return the folders of all that ``requirements`` need, in order.

        :param projects: folders of built source trees, preferred to any egg
        :raises OptionError: naming what is not as the lock, or the pins, have it
        """
        built = {_name(distribution): distribution for distribution in map(_described, projects)}
        self._follow(deque(map(Requirement, requirements)), built)
        eggs = [self.found[name] for name in sorted(self.found)]
        if "setuptools" not in self.found and any(map(_has_old_namespaces, eggs)):
            self._follow(deque([Requirement("setuptools")]), built)
            eggs = [self.found[name] for name in sorted(self.found)]
        return [*eggs, *projects]

    def _follow(self, waiting: deque[Requirement], built: Mapping[str, Distribution]) -> None:
        done: set[tuple[str, str]] = set()
        while waiting:
            wanted = waiting.popleft()
            name = canonicalize_name(wanted.name)
            distribution = built.get(name) or self._egg(wanted)
            self._check(wanted, distribution)
            for extra in {"", *wanted.extras} - {extra for n, extra in done if n == name}:
                done.add((name, extra))
                waiting.extend(_required(distribution, extra))

    def _egg(self, wanted: Requirement) -> Distribution:
        name = canonicalize_name(wanted.name)
        if name not in self.found:
            self.found[name] = self._installed(self._locked(name, wanted))
        return _described(self.found[name])

    def _locked(self, name: str, wanted: Requirement) -> Locked:
        package = self.files.lock.find(name, {str(k): str(v) for k, v in _ENVIRONMENT.items()})
        if package is None:
            raise self._stale(f"expected {wanted}, got none")
        pin = self.pins.get(name, "")
        if pin and not is_pinned(package.version, pin):
            raise self._stale(f"expected {name} {pin}, as versions has it, got {package.version}")
        return package

    def _installed(self, package: Locked) -> Path:
        wheel = package.wheel_for(own_tags())
        if wheel is None:
            raise self._stale(f"expected a wheel of {package.name} for this Python, got none")
        digests = {package.wheels[wheel]}
        layout = self.files.layout
        egg = layout.eggs / egg_name(Path(wheel))
        if self.verified.unchanged(egg, digests):
            return egg
        place = self.files.get(package, wheel)
        try:
            return self.verified.install(place, layout.eggs, digests)
        except WheelError as error:
            raise OptionError(self.files.section, [f"lock: {error}"]) from error

    def _check(self, wanted: Requirement, found: Distribution) -> None:
        if not wanted.specifier.contains(found.version, prereleases=True):
            raise self._stale(f"expected {wanted}, got {found.version}")

    def _stale(self, problem: str) -> OptionError:
        return stale(self.files, problem)


def is_pinned(version: str, pin: str) -> bool:
    """Tell whether a version is what a pin of buildout's, ``1.0`` or ``>=1.0``, asks for."""
    try:
        return SpecifierSet(pin if pin[0] in "<>=!~" else f"=={pin}").contains(version, True)
    except InvalidSpecifier:
        return version == pin


def stale(files: Files, problem: str) -> OptionError:
    """Return the error that a lock does not fit the configuration, with what to do."""
    advice = f"run bin/buildout {files.section}:lock= and bin/pylonyard lock to make a new one"
    return OptionError(files.section, [f"lock: {problem} in {files.lock.path}; {advice}"])


_ENVIRONMENT = default_environment()


def _described(folder: Path) -> Distribution:
    (info,) = folder.glob("*.dist-info")
    return PathDistribution(info)


def _name(distribution: Distribution) -> str:
    return canonicalize_name(distribution.metadata["Name"])


def _required(distribution: Distribution, extra: str) -> Iterator[Requirement]:
    for text in distribution.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None and not extra:
            yield requirement
        elif marker and marker.evaluate({"extra": extra}):
            if not extra or not marker.evaluate({"extra": ""}):
                yield requirement


def _has_old_namespaces(egg: Path) -> bool:
    """Tell whether an egg has namespaces for which pkg_resources is needed at run time."""
    return any(path.read_bytes().strip() for path in egg.glob("*.dist-info/namespace_packages.txt"))
