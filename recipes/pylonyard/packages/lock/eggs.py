"""Install the eggs of buildout's own interpreter from a lock, without a resolver.

A lock has one version of each distribution, so what is left is to follow the
requirements from one to the next, as their metadata states them.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import Tag, sys_tags
from packaging.utils import canonicalize_name

from pylonyard.packages.integrity import Verified
from pylonyard.packages.lock.files import Files, Target
from pylonyard.packages.lock.pylock import Locked
from pylonyard.packages.metadata import described, follow, name_of
from pylonyard.packages.wheels import WheelError, egg_name
from pylonyard.system.errors import OptionError


@functools.cache
def own_tags() -> Mapping[Tag, int]:
    """Return the tags that this interpreter supports, with their ranks."""
    return {tag: rank for rank, tag in enumerate(sys_tags())}


class LockedEggs:
    """A working set that grows by the requirements of its members."""

    def __init__(self, files: Files, pins: Mapping[str, str]) -> None:
        """:param pins: versions that the configuration names; the lock has to agree."""
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
        :raises OptionError: naming what is not as the lock, or the pins, have it
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
        return [*(self.found[name] for name in sorted(self.found)), *projects]

    def _follow(
        self, requirements: Iterable[Requirement], built: Mapping[str, Distribution]
    ) -> None:
        def get(wanted: Requirement) -> Distribution:
            distribution = built.get(canonicalize_name(wanted.name)) or self._egg(wanted)
            if not wanted.specifier.contains(distribution.version, prereleases=True):
                raise self.files.stale(f"expected {wanted}, got {distribution.version}")
            return distribution

        follow(requirements, get, self.environment)

    def _egg(self, wanted: Requirement) -> Distribution:
        name = canonicalize_name(wanted.name)
        if name not in self.found:
            package = self.files.package(wanted, self.environment, self.pins)
            self.found[name], place = self._placed(package)
            self.described[name] = described(place)
        return self.described[name]

    def _placed(self, package: Locked) -> tuple[Path, Path]:
        """Return the future path of a distribution's egg, and its metadata until then."""
        wheel = package.wheel_for(own_tags())
        if wheel is None:
            raise self.files.stale(
                f"expected a wheel of {package.name} {package.version} for this Python, got none"
            )
        digests = {package.wheels[wheel]}
        layout = self.files.layout
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
