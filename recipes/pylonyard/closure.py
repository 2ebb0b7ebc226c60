"""What requirements lead to, one distribution after the other, as their metadata says."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import Distribution, PackageMetadata, PathDistribution
from pathlib import Path
from zipfile import Path as ZipPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


class Described(PathDistribution):
    """A distribution whose metadata is read once, however much of it is asked for."""

    @cached_property
    def metadata(self) -> PackageMetadata:
        return super().metadata


def described(place: Path) -> Distribution:
    """Return the metadata of a wheel, or of a folder that one was unpacked to."""
    root = ZipPath(place) if place.is_file() else place
    (info,) = (entry for entry in root.iterdir() if entry.name.endswith(".dist-info"))
    return Described(info)


def name_of(distribution: Distribution) -> str:
    return canonicalize_name(distribution.metadata["Name"])


def follow(
    requirements: Iterable[Requirement],
    get: Callable[[Requirement], Distribution],
    environment: Mapping[str, str],
) -> None:
    """Call ``get`` for each requirement, and for those of what it returns.

    :param environment: what markers are about, as ``python_version``
    """
    waiting = deque(requirements)
    done: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.popleft()
        name = canonicalize_name(wanted.name)
        found = get(wanted)
        for extra in {"", *wanted.extras} - {extra for n, extra in done if n == name}:
            done.add((name, extra))
            waiting.extend(required(found, extra, environment))


def required(
    found: Distribution, extra: str, environment: Mapping[str, str]
) -> Iterator[Requirement]:
    """Yield what a distribution requires: always, or for ``extra`` alone if that is given."""
    plain, wanted = {**environment, "extra": ""}, {**environment, "extra": extra}
    for text in found.requires or ():
        requirement = _lenient(text)
        marker = requirement.marker
        always = marker is None or marker.evaluate(plain)
        if always if not extra else not always and marker and marker.evaluate(wanted):
            yield requirement


def _lenient(text: str) -> Requirement:
    """Return a requirement, of any version if that is written as nobody does any more."""
    try:
        return Requirement(text)
    except InvalidRequirement:
        _, separator, marker = text.partition(";")
        named = re.match(r"\s*[A-Za-z0-9._-]+", text)
        if named is None:
            raise
        return Requirement(named[0] + separator + marker)
