"""mod_wsgi's sources: which version serves which Python, pinned by SHA-256."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zc.buildout.easy_install
from zc.buildout import UserError
from zc.buildout._package_index import DistutilsError

from pylonyard.config.layout import Layout
from pylonyard.packages import missing
from pylonyard.packages.index import Places
from pylonyard.packages.missing import Missing
from pylonyard.packages.wheels import sha256
from pylonyard.system import atomic
from pylonyard.system.errors import CommandError

PROJECT = "mod_wsgi"


@dataclass(frozen=True)
class Source:
    """A release of mod_wsgi, and the Python versions for which it builds."""

    version: str
    sha256: str
    lowest: tuple[int, int]
    highest: tuple[int, int]


# The newest release that builds comes first.
SOURCES = [
    Source(
        "6.1.1",
        "a42d11ba45d2050ab456a474d034e938605ca76386233ef404daa8b0388ca60e",
        (3, 10),
        (3, 15),
    ),
    Source(
        "5.0.2",
        "6fe5557c3ef25c184c2c994905fe52be1c06ae5c46235ecafe558e84789e2159",
        (3, 8),
        (3, 12),
    ),
    Source(
        "4.9.4",
        "8e762662ea5b01afc386bbcfbaa079748eb6203ab1d6d3a3dac9237f5666cfc9",
        (2, 7),
        (3, 11),
    ),
]


def choose(python: tuple[int, int], version: str | None = None) -> Source:
    """Return the source for a Python version: the newest, or that of ``version``.

    :raises ValueError: if it is not known, or does not build for this Python
    """
    fitting = [source for source in SOURCES if source.lowest <= python <= source.highest]
    for source in fitting:
        if version in (None, source.version):
            return source
    wanted = " or ".join(source.version for source in fitting) or "a Python from 2.7 to 3.15"
    raise ValueError(
        f"expected {wanted} for Python {'.'.join(map(str, python))}, got {version or 'none'!r}"
    )


def filename(source: Source) -> str:
    return f"{PROJECT}-{source.version}.tar.gz"


def fetch(source: Source, buildout: Mapping[str, Any]) -> Path:
    """Return the source archive in the download cache, fetched if need be.

    Buildout's own index, ``find-links`` and ``allow-hosts`` are searched.

    :raises CommandError: if it cannot be had, or is not the pinned one
    """
    layout = Layout.of(buildout)
    place = layout.dist / filename(source)
    if place.is_file() and sha256(place) == source.sha256:
        return place
    what = f"cannot get the source of mod_wsgi {source.version}"
    if layout.offline:
        lacking, options = Missing({place.name: None}), missing.options(layout, Places.of(buildout))
        if place.exists():
            raise CommandError(what, f"{place} is damaged", lacking.advice(options))
        raise CommandError(what, lacking.told(layout, options))
    with atomic.draft(layout.dist) as folder:
        found = _download(source.version, Places.of(buildout), str(folder), what)
        digest = sha256(found)
        if digest != source.sha256:
            raise CommandError(what, f"expected SHA-256 {source.sha256}, got {digest}")
        os.replace(found, place)
    return place


def _download(version: str, searched: Places, folder: str, what: str) -> Path:
    # pkg_resources comes with zc.buildout, which keeps it from warning.
    requirement = zc.buildout.easy_install.pkg_resources.Requirement.parse(f"{PROJECT}=={version}")
    try:
        index = zc.buildout.easy_install._get_index(searched.index, searched.links, searched.hosts)
        found = index.fetch_distribution(requirement, folder, source=True)
    except (OSError, UserError, DistutilsError) as error:
        raise CommandError(what, " ".join(str(error).split())) from error
    if found is None:
        raise CommandError(what, "neither the index nor find-links has it")
    return Path(_own_copy(found.location, folder))


def _own_copy(location: str, folder: str) -> str:
    """Return a file in ``folder``: one of find-links is not ours to move."""
    if os.path.dirname(location) == folder:
        return location
    return shutil.copy(location, folder)
