"""Where things are in a sandbox."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Layout:
    """The folders of one sandbox; docs/sandbox.rst has the map."""

    directory: Path
    parts: Path
    bin: Path
    eggs: Path
    cache: Path
    offline: bool = False

    @classmethod
    def of(cls, buildout: Mapping[str, Any]) -> "Layout":
        base = buildout["buildout"]
        directory = Path(base["directory"])
        return cls(
            directory=directory,
            parts=Path(base["parts-directory"]),
            bin=Path(base["bin-directory"]),
            eggs=Path(base["eggs-directory"]),
            cache=directory / (base.get("download-cache") or "cache"),
            offline=base.get("offline") == "true",
        )

    @classmethod
    def below(cls, directory: Path) -> "Layout":
        """Return that of a sandbox, as nobody changed it: for what is always in one place."""
        cache = directory / "cache"
        return cls(directory, directory / "parts", directory / "bin", cache / "eggs", cache)

    @property
    def dist(self) -> Path:
        """Downloaded wheels and source distributions."""
        return self.cache / "dist"

    @property
    def sandboxes(self) -> Path:
        """Isolated environments, each named by what it holds."""
        return self.cache / "sandboxes"

    @property
    def projects(self) -> Path:
        """Source trees of a checkout, built, each named by what it holds."""
        return self.cache / "projects"

    @property
    def releases(self) -> Path:
        return self.directory / "releases"

    @property
    def current(self) -> Path:
        """The link to the release that is live; artifacts refer through it."""
        return self.directory / "current"

    @property
    def var(self) -> Path:
        """What applications write; no run deletes it."""
        return self.directory / "var"
