"""What the names of wheels and source archives say."""

from dataclasses import dataclass

from packaging.tags import Tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion

SUFFIXES = (".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2")


@dataclass(frozen=True)
class Identified:
    """A distribution, as the name of its file tells it."""

    name: NormalizedName
    version: str
    tags: frozenset[Tag] | None
    """Of a wheel; None of a source archive."""


def identified(filename: str) -> Identified | None:
    """Return what a file is, None if it is not called as a distribution's are."""
    try:
        if filename.endswith(".whl"):
            name, version, _, tags = parse_wheel_filename(filename)
            return Identified(name, str(version), tags)
        name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return Identified(name, str(version), None)
