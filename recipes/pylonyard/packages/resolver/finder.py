"""Find the files of distributions that an interpreter can use, and read their metadata."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from pylonyard.packages import metadata
from pylonyard.packages.metadata import Found, Metadata
from pylonyard.system.errors import LOOK_FIRST, CommandError

if TYPE_CHECKING:
    from pylonyard.packages.index import Offer, Places

SOURCES = (".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass
class Finder:
    """The files that one interpreter can use, in the places of one section."""

    places: "Places"
    fetch: "Callable[[Offer], Path]"
    """Returns a file on this machine, downloaded if need be."""
    tags: Mapping[Tag, int]
    environment: Mapping[str, str]
    build: Callable[[Path], str]
    """Returns the text of the metadata of a source archive."""
    given: Mapping[str, Found] = field(default_factory=dict)
    from_index: frozenset[str] = frozenset()
    """The names that are asked of the index even if find-links has them; ``*`` means all."""
    named: "Mapping[str, Offer]" = field(default_factory=dict)
    """The file that a requirement names by its URL, which is the only one of its project."""
    _linked: "list[Offer] | None" = None
    _found: dict[str, list[Found]] = field(default_factory=dict)
    _read: "dict[Offer, Metadata]" = field(default_factory=dict)

    def files(self, project: str) -> list[Found]:
        """Return the files of a project for this interpreter, the best of the newest first."""
        if project not in self._found:
            self._found[project] = sorted(
                self._usable(project), key=lambda each: (each.version, each.rank), reverse=True
            )
        return self._found[project]

    def is_linked(self, project: str) -> bool:
        """Return whether find-links has a project, which is then not asked of the index."""
        asked = self.from_index & {project, "*"} or project in self.named
        return not asked and any(self._version(project, each) for each in self.linked)

    @property
    def linked(self) -> "list[Offer]":
        if self._linked is None:
            self._linked = list(self.places.linked())
        return self._linked

    def _usable(self, project: str) -> Iterator[Found]:
        for offer in self._offers(project):
            version = self._version(project, offer)
            rank = self._rank(offer)
            if version and rank and offer.is_for(self.environment["python_full_version"]):
                yield Found(project, version, offer, rank)

    def _offers(self, project: str) -> "Iterable[Offer]":
        if project in self.named:
            return [self.named[project]]
        offers = [each for each in self.linked if self._version(project, each)]
        return offers if self.is_linked(project) else [*offers, *self.places.indexed(project)]

    def _rank(self, offer: "Offer") -> tuple[int, tuple[object, ...]] | None:
        """Return how good a file is among others of its version; None if it does not fit."""
        if not offer.name.endswith(".whl"):
            return -len(self.tags), ()
        _, _, build, tags = parse_wheel_filename(offer.name)
        fitting = tags & self.tags.keys()
        return (-min(self.tags[tag] for tag in fitting), build) if fitting else None

    @staticmethod
    def _version(project: str, offer: "Offer") -> Version | None:
        """Return the version of a file of ``project``; None if it is of another, or no package."""
        if offer.name.endswith(".whl"):
            try:
                name, version, _, _ = parse_wheel_filename(offer.name)
            except (InvalidWheelFilename, InvalidVersion):
                return None
            return version if name == project else None
        suffix = next((each for each in SOURCES if offer.name.endswith(each)), None)
        stem = offer.name.removesuffix(suffix or "")
        for dash in re.finditer("-", stem) if suffix else ():
            if canonicalize_name(stem[: dash.start()]) == project:
                try:
                    return Version(stem[dash.end() :])
                except InvalidVersion:
                    continue
        return None

    def metadata(self, found: Found) -> Metadata:
        """Return the metadata of a file, with as little downloaded as possible.

        :raises CommandError: if it cannot be had
        """
        if found.given or not found.offer:
            return found.given or Metadata(found.project, str(found.version), (), "", frozenset())
        if found.offer not in self._read:
            self._read[found.offer] = self._metadata(found.offer)
        return self._read[found.offer]

    def _metadata(self, offer: "Offer") -> Metadata:
        if offer.metadata is not None:
            content = self.places.read(offer, ".metadata")
            if offer.metadata and hashlib.sha256(content).hexdigest() != offer.metadata:
                raise CommandError(
                    f"cannot use {offer.name}",
                    f"its metadata has not the SHA-256 that the index states, {offer.metadata}",
                )
            return Metadata.parse(content.decode("utf-8", "replace"))
        file = self.fetch(offer)
        if file.suffix != ".whl":
            return Metadata.parse(self.build(file))
        try:
            return Metadata.of(metadata.described(file))
        except (OSError, ValueError, BadZipFile) as error:
            reason = f"damaged: {' '.join(str(error).split())}"
            raise CommandError(str(file), reason, f"{LOOK_FIRST}, and run this again") from error

    def required(self, found: Found, extras: Collection[str] = ()) -> Iterator[Requirement]:
        """Yield what a file needs: in general, or with some of its extras."""
        wanted = [{**self.environment, "extra": extra} for extra in sorted(extras) or [""]]
        for text in self.metadata(found).requires:
            requirement = metadata.lenient(text)
            marker = requirement.marker
            if marker is None or any(map(marker.evaluate, wanted)):
                yield requirement
