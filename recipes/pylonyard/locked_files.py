"""Files of the download cache that a lock names: brought if need be, always verified."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from pylonyard import drafts, index_pages
from pylonyard.errors import CommandError, OptionError
from pylonyard.index_pages import Places
from pylonyard.integrity import check_file
from pylonyard.layout import Layout
from pylonyard.pylock import Lock, Locked
from pylonyard.wheels import WheelError


@dataclass(frozen=True)
class Files:
    """The files of a lock, for one section of a buildout."""

    section: str
    lock: Lock
    layout: Layout
    places: Places

    def get(self, package: Locked, name: str) -> Path:
        """Return the file ``name`` of ``package`` in the download cache.

        :raises OptionError: naming it, if it cannot be had or is not what was locked
        """
        digests = {package.files[name]}
        place = self.layout.dist / name
        try:
            if not place.exists():
                self._bring(package, name, digests)
            check_file(place, digests, self.layout.cache)
        except (CommandError, WheelError) as error:
            raise OptionError(self.section, [f"lock: {error}"]) from error
        return place

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
            raise self.stale(f"expected {wanted}, got none")
        if (pin := pins.get(name)) and not is_pinned(package.version, pin):
            raise self.stale(f"expected {name} {pin}, as versions has it, got {package.version}")
        return package

    def stale(self, problem: str) -> OptionError:
        """Return the error that the lock does not fit the configuration, with what to do."""
        advice = f"make a new one: bin/buildout {self.section}:lock= and then bin/pylonyard lock"
        return OptionError(self.section, [f"lock: {problem} in {self.lock.path}; {advice}"])

    def _bring(self, package: Locked, name: str, digests: set[str]) -> None:
        if self.layout.offline:
            raise CommandError(f"cannot have {name}", f"offline, and not in {self.layout.dist}")
        offer = index_pages.find(self.places, package.name, name)
        if offer is None:
            raise CommandError(
                f"cannot have {name}", "neither find-links nor the index has a file of that name"
            )
        with drafts.draft(self.layout.dist) as folder:
            brought = self.places.download(offer, folder)
            check_file(brought, digests, self.layout.cache)
            brought.replace(self.layout.dist / name)


def is_pinned(version: str, pin: str) -> bool:
    """Tell whether a version is what a pin of buildout's, ``1.0`` or ``>=1.0``, asks for."""
    try:
        return SpecifierSet(pin if pin[0] in "<>=!~" else f"=={pin}").contains(version, True)
    except InvalidSpecifier:
        return version == pin
