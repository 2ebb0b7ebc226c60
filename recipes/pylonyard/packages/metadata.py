"""Read names, tags and metadata of distributions."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import (
    Distribution,
    DistributionFinder,
    MetadataPathFinder,
    PackageMetadata,
    PathDistribution,
)
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import Path as ZipPath

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, sys_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion

if TYPE_CHECKING:
    from pylonyard.packages.interpreters import Interpreter

SUFFIXES = (".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2")


@dataclass(frozen=True)
class Identified:
    """A distribution, identified by the name of its file."""

    name: NormalizedName
    version: str
    tags: frozenset[Tag] | None
    """The tags of a wheel; None for a source archive."""


def identified(filename: str) -> Identified | None:
    """Identify a distribution by the name of its file; None if it is no such name."""
    try:
        if filename.endswith(".whl"):
            name, version, _, tags = parse_wheel_filename(filename)
            return Identified(name, str(version), tags)
        name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return Identified(name, str(version), None)


# Which wheels an interpreter can use, and what markers see of it.


def supported(interpreter: "Interpreter") -> Mapping[Tag, int]:
    """Return the tags of the wheels that an interpreter can use, with their ranks."""
    if interpreter.runs_us:
        return {tag: rank for rank, tag in enumerate(sys_tags())}
    # Python 2.7 counts characters in one of two ways; on Linux it is nearly always "mu".
    abis = ["cp27mu", "cp27m"] if interpreter.series == (2, 7) else None
    name = short_name(interpreter)
    found = [*cpython_tags(interpreter.series, abis), *compatible_tags(interpreter.series, name)]
    return {tag: rank for rank, tag in enumerate(dict.fromkeys(found))}


def short_name(interpreter: "Interpreter") -> str:
    return "cp{}{}".format(*interpreter.series)


def environment(interpreter: "Interpreter") -> dict[str, str]:
    """Return the variables of markers, for an interpreter on this machine."""
    version = "{}.{}.{}".format(*interpreter.version)
    return {
        **{key: str(value) for key, value in default_environment().items()},
        "python_version": "{}.{}".format(*interpreter.series),
        "python_full_version": version,
        "implementation_version": version,
    }


# What requirements lead to, one distribution after the other, as their metadata says.


class Described(PathDistribution):
    """A distribution whose metadata is read only once."""

    @cached_property
    def metadata(self) -> PackageMetadata:
        return super().metadata


def described(place: Path) -> Distribution:
    """Return the metadata of a wheel, or of a folder that one was unpacked to."""
    root = ZipPath(place) if place.is_file() else place
    (info,) = (entry for entry in root.iterdir() if entry.name.endswith(".dist-info"))
    return Described(info)


def distributions(search_path: Sequence[str]) -> dict[str, Distribution]:
    """Return the distributions on a search path, by canonical name."""
    context = DistributionFinder.Context(path=list(search_path))
    found = MetadataPathFinder.find_distributions(context)
    # The first on the path is the one that an import finds.
    return {name_of(each): each for each in reversed(list(found))}


def name_of(distribution: Distribution) -> str:
    return canonicalize_name(distribution.metadata["Name"])


def is_editable(distribution: Distribution) -> bool:
    """Return whether a distribution is a source tree as it stands (PEP 610)."""
    origin = distribution.read_text("direct_url.json")
    return bool(origin and json.loads(origin).get("dir_info", {}).get("editable"))


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
    """Yield the requirements of a distribution: in general, or only those for ``extra``."""
    plain, wanted = {**environment, "extra": ""}, {**environment, "extra": extra}
    for text in found.requires or ():
        requirement = _lenient(text)
        marker = requirement.marker
        always = marker is None or marker.evaluate(plain)
        if always if not extra else not always and marker and marker.evaluate(wanted):
            yield requirement


def _lenient(text: str) -> Requirement:
    """Return a requirement; of any version if its specifier has an outdated form."""
    try:
        return Requirement(text)
    except InvalidRequirement:
        _, separator, marker = text.partition(";")
        named = re.match(r"\s*[A-Za-z0-9._-]+", text)
        if named is None:
            raise
        return Requirement(named[0] + separator + marker)
