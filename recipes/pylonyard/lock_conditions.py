"""What is required only where another interpreter runs: to be locked, though not installed here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

MINORS = range(10, 16)
"""The releases of Python 3 that the recipes may run on."""


@dataclass
class Conditional:
    """A distribution that is not required here."""

    name: str
    specifiers: list[Requirement] = field(default_factory=list)
    markers: dict[str, None] = field(default_factory=dict)

    @property
    def marker(self) -> str:
        """Where it is required."""
        texts = list(self.markers)
        return texts[0] if len(texts) == 1 else " or ".join(f"({text})" for text in texts)

    def __str__(self) -> str:
        return f"{self.name} ({self.marker})"

    def accepts(self, version: str) -> bool:
        return all(each.specifier.contains(version, prereleases=True) for each in self.specifiers)

    def version_of(self, known: Iterable[tuple[str, str]]) -> str | None:
        """Return the version of the first that meets all requirements: name, version."""
        for name, version in known:
            if name == self.name and self.accepts(version):
                return version
        return None


def conditionals(
    distributions: Iterable[Distribution], environment: Mapping[str, str]
) -> dict[str, Conditional]:
    """Return what some Python requires and this one does not, by canonical name.

    :param environment: what markers are about here, as ``python_version``
    """
    found: dict[str, Conditional] = {}
    for distribution in distributions:
        for requirement in _requirements(distribution):
            marker = requirement.marker
            if marker and not _holds(marker, environment) and _holds_elsewhere(marker, environment):
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
            continue  # As nobody writes any more: of Python 2, which has no other series.


def _holds(marker: Marker, environment: Mapping[str, str]) -> bool:
    return marker.evaluate({**environment, "extra": ""})


def _holds_elsewhere(marker: Marker, environment: Mapping[str, str]) -> bool:
    for minor in MINORS:
        full = f"3.{minor}.0"
        other = {"python_version": f"3.{minor}", "python_full_version": full}
        if _holds(marker, {**environment, **other, "implementation_version": full}):
            return True
    return False
