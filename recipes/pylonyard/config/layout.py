"""The layout of a sandbox: its folders."""

from collections.abc import Mapping
from contextlib import suppress
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
        """Return the default layout of a sandbox, for folders that cannot be changed."""
        cache = directory / "cache"
        return cls(directory, directory / "parts", directory / "bin", cache / "eggs", cache)

    @property
    def dist(self) -> Path:
        """Downloaded wheels and source distributions."""
        return self.cache / "dist"

    @property
    def environments(self) -> Path:
        """Isolated environments, each named by a digest of its contents."""
        return self.cache / "sandboxes"

    @property
    def projects(self) -> Path:
        """Source trees of a checkout, built, each named by a digest of its contents."""
        return self.cache / "projects"

    @property
    def build_logs(self) -> Path:
        """What builds that failed have printed."""
        return self.directory / ".pylonyard" / "builds"

    @property
    def releases(self) -> Path:
        return self.directory / "releases"

    @property
    def current(self) -> Path:
        """The link to the live release; artifacts name paths below it."""
        return self.directory / "current"

    @property
    def var(self) -> Path:
        """Files that applications write; no run deletes them."""
        return self.directory / "var"


DEFAULTS = {
    # A user's ~/.buildout/default.cfg and any buildout.cfg override these.
    "eggs-directory": "cache/eggs",
    "download-cache": "cache",
    "abi-tag-eggs": "true",
}
"""Our defaults of ``[buildout]``."""

OUR_EXTENSION = "pylonyard"
"""The name of our extension in ``[buildout]``, which adds :func:`profile`."""


def profile() -> Path:
    """Return the profile of all deployments: in a distribution of ours, or else in the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "profiles"
    folder = installed if installed.is_dir() else package.parents[1] / "profiles"
    return folder / "base.cfg"


# Paths that a sandbox cannot have, because one of its files could not contain them.
#
# Standard library only: it is asked before anything is made.


REASONS = {
    "%": "PasteDeploy reads it as the start of a name",
    "#": "PasteDeploy takes it for the end of a path",
    "${": "zc.buildout and Apache read it as the start of a name",
    "{": "logrotate cannot hold it",
    "}": "logrotate cannot hold it",
    '"': "logrotate cannot hold it",
    "*": "Apache takes it for a pattern",
    "?": "Apache takes it for a pattern",
    "[": "Apache takes it for a pattern",
    "]": "Apache takes it for a pattern",
    "\\": "Python and the shell read it as the start of a character",
}


def path_problem(folder: Path) -> str:
    """Return why a sandbox cannot be in ``folder``, in one line; empty if it can."""
    path = str(folder)
    odd = {c: "no configuration can hold it" for c in path if not c.isprintable()}
    for what, why in {**odd, **REASONS}.items():
        if what in path:
            return f"the path {path!r} has {what!r}, and {why}; move the folder to another path"
    return ""


MANIFEST = "manifest.json"
"""The file of a release with the digest, mode and validators of each of its files."""

REAL_SERVER = "On a real server"
"""The title of the page on a checkout for production."""


def page(title: str) -> str:
    """Return where a page of our documentation is: its path in a checkout, or its address."""
    name = f"{title.lower().replace(' ', '-')}.rst"
    path = Path(__file__).resolve().parents[3] / "docs" / name
    if path.is_file():
        here = Path.cwd()
        return str(path.relative_to(here) if path.is_relative_to(here) else path)
    # Imported here: most runs print no such message.
    from importlib import metadata

    place = f'"{title}" in Pylonyard\'s documentation'
    with suppress(metadata.PackageNotFoundError):
        for url in metadata.metadata("pylonyard").get_all("Project-URL", ()):
            kind, _, index = url.partition(", ")
            if kind == "Documentation":
                return f"{place}, {index.rpartition('/')[0]}/{name}"
    return place


IN_BIN = "'../"
IN_RELEASE = "'../../../"
"""The beginning of the path to the recipes, as seen from the script."""
