"""Make the environments in which source trees and archives are built (PEP 518)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylonyard.config.layout import Layout
from pylonyard.environments import eggs_venv, scripts
from pylonyard.packages import zc_installer
from pylonyard.packages.lock.files import Files, LockedEggs
from pylonyard.packages.zc_installer import Asked
from pylonyard.system.errors import CommandError


@dataclass
class BuildEnvironments:
    """Those of one section, for buildout's own Python."""

    buildout: Any
    section: str
    links: Sequence[str]
    index: str | None
    pins: Mapping[str, str]
    lock: Callable[[], Files | None]
    """Returns the files of the section's lock, if there is one."""
    under_way: list[list[str]] = field(default_factory=list)
    """The requirements of the builds at work: what one of them requires may be built, too."""

    def make(self, requirements: Sequence[str], commands: Path) -> Path:
        """Make an environment with ``requirements`` alone; see ``builds.Environment``.

        :raises CommandError: if one of them can only be built with all of them
        """
        wanted = [*requirements]
        if wanted in self.under_way:
            names = ", ".join(wanted)
            reason = f"that requires {names}, of which one can only be built with {names}"
            raise CommandError(f"cannot build with {names}", reason)
        self.under_way.append(wanted)
        try:
            found = self._locations(wanted)
        finally:
            self.under_way.pop()
        home = eggs_venv.make(Layout.of(self.buildout).environments, found)
        scripts.write_all(home, commands)
        return home

    def _locations(self, requirements: Sequence[str]) -> list[Path]:
        pins = zc_installer.pins_that_fit(self.pins, requirements)
        if lock := self.lock():
            return LockedEggs(lock, pins).locations(requirements, ())
        asked = Asked(record=f"{self.section}, to build: {', '.join(requirements)}")
        return zc_installer.locations(
            self.buildout, self.section, requirements, (), self.links, self.index, pins, asked=asked
        )
