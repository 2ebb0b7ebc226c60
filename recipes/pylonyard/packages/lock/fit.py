"""Check whether a lock has all that a configuration requires, directly or indirectly."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import canonicalize_name

from pylonyard.packages import metadata
from pylonyard.packages.lock.pylock import Lock, Locked
from pylonyard.packages.metadata import follow
from pylonyard.packages.missing import Unknown, is_pinned

RECIPES = ("pylonyard", "pylonyard:pylons_app")
"""Those of sections that install an application."""


def requested(directory: Path, options: Mapping[str, str]) -> list[str]:
    """Return the canonical names of projects that come from trees, or are provided."""
    trees = f"{options.get('sources', '')}\n{options.get('develop', '')}".splitlines()
    names = [metadata.stated(directory / tree.strip())[0] for tree in trees if tree.strip()]
    names += [line.partition("=")[0].strip() for line in options.get("provided", "").splitlines()]
    return [str(canonicalize_name(name)) for name in names if name]


@dataclass(frozen=True)
class Fit:
    """A lock, compared with the requirements of an application."""

    lock: Lock
    environment: Mapping[str, str]
    """The variables of markers, for the interpreter of the application."""
    tags: Mapping[Tag, int]
    """The tags of the wheels that it can use, with their ranks."""
    pins: Mapping[str, str]
    """Versions that the configuration names, by canonical name."""
    local: Mapping[str, Distribution]
    """What is built of source trees, and so in no lock, by canonical name."""
    described: Callable[[Locked, str], Distribution | None]
    """Returns the metadata of a locked file, if it is known here."""
    required: Callable[[str], Iterable[str]] = lambda file: ()
    """Returns what the build of a source archive requires beyond our own tools."""
    problems: dict[str, None] = field(default_factory=dict)
    builds: dict[str, list[str]] = field(default_factory=dict)
    """What the lock lacks of what the builds of its sources require, by the file to build."""

    def check(self, requirements: Iterable[str]) -> None:
        """Add what does not fit to ``problems``."""
        follow(map(Requirement, requirements), self._found, self.environment)

    def _found(self, wanted: Requirement) -> Distribution:
        name = str(canonicalize_name(wanted.name))
        if name in self.local:
            return self.local[name]
        package = self.lock.find(name, self.environment, wanted)
        if package is None:
            return self._problem(f"expected {wanted}, got none")
        if not wanted.specifier.contains(package.version, prereleases=True):
            return self._problem(f"expected {wanted}, got {package.version}")
        if (pin := self.pins.get(name)) and not is_pinned(package.version, pin):
            return self._problem(
                f"expected {name} {pin}, as versions has it, got {package.version}"
            )
        file = package.wheel_for(self.tags)
        if not file and package.sdist:
            file = package.sdist[0]
            self._check_build(file)
        if not file:
            return self._problem(f"expected a file of {name} {package.version} for its Python")
        return self.described(package, file) or Unknown()

    def _check_build(self, file: str) -> None:
        for wanted in map(Requirement, self.required(file)):
            package = self.lock.find(canonicalize_name(wanted.name), self.environment, wanted)
            if not (package and wanted.specifier.contains(package.version, prereleases=True)):
                self.builds.setdefault(file, []).append(str(wanted))

    def _problem(self, text: str) -> Distribution:
        self.problems[text] = None
        return Unknown()
