"""Files of the download cache that a lock names: brought if need be, always verified."""

from dataclasses import dataclass
from pathlib import Path

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
