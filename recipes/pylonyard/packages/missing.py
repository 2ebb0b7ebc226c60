"""Report the files that the cache or the index lacks, with the command that fetches them.

The metadata of what is there says what it requires.  Of what is not there nobody
knows that, so pins without a file are named as well, as what may be needed too.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from zc.buildout import easy_install

from pylonyard.config.layout import Layout
from pylonyard.packages.index import Places
from pylonyard.packages.metadata import described, follow, identified, name_of
from pylonyard.packages.resolver.pins import is_range
from pylonyard.system.options import near
from pylonyard.system.relocation import bootstrap_command


def specifier(pin: str) -> str:
    """Return what a pin of buildout's, ``1.0`` or ``>=1.0``, stands for in a requirement."""
    return pin if is_range(pin) else f"=={pin}"


def is_pinned(version: str, pin: str) -> bool:
    """Return whether a version is what a pin of buildout's asks for."""
    try:
        return SpecifierSet(specifier(pin)).contains(version, True)
    except InvalidSpecifier:
        return version == pin


@dataclass
class Missing:
    """The files, by name, or requirements to fetch, in the order in which they were found."""

    surely: dict[str, None] = field(default_factory=dict)
    perhaps: dict[str, None] = field(default_factory=dict)
    """Distributions that may be required by these, or by a source: their metadata is missing."""

    def __or__(self, other: "Missing") -> "Missing":
        surely = {**self.surely, **other.surely}
        perhaps = {**self.perhaps, **other.perhaps}
        return Missing(surely, {key: None for key in perhaps if key not in surely})

    def __bool__(self) -> bool:
        return bool(self.surely)

    def message(self, layout: Layout, options: Sequence[str]) -> str:
        """Return the line that names all missing files, and the command.

        :param options: of the command, as :func:`options` gives them
        """
        perhaps = f" (and perhaps {', '.join(self.perhaps)})" if self.perhaps else ""
        named = f"not in the cache {layout.dist}: {', '.join(self.surely)}{perhaps}"
        return f"{named}; {self.advice(layout, options)}"

    def advice(self, layout: Layout, options: Sequence[str]) -> str:
        words = shlex.join(["fetch", *options, *self.surely, *self.perhaps])
        command = bootstrap_command(layout.directory)
        if not command and not (layout.bin / "pylonyard").exists():
            return "run this where there is a network, and without -o, to fetch what is missing"
        command = command or "bin/pylonyard"
        return f"fetch what is missing where there is a network with: {command} {words}"


def options(
    layout: Layout, places: Places, lock: Path | None = None, python: Path | None = None
) -> list[str]:
    """Return the options with which the command uses the same places as this buildout."""
    words = [] if layout.cache == layout.directory / "cache" else ["--cache", str(layout.cache)]
    words += ["--index", places.index] if places.index else []
    for link in places.links:
        words += ["--find-links", link]
    if lock:
        inside = lock.is_relative_to(layout.directory)
        words += ["--lock", str(lock.relative_to(layout.directory) if inside else lock)]
    return [*words, "--python", str(python)] if python else words


class Shelf:
    """The available distributions for an interpreter: in the cache, or as eggs."""

    def __init__(self, dist: Path, tags: Mapping[Tag, int], eggs: Path | None = None) -> None:
        """:param eggs: the egg directory, for the interpreter whose eggs are there"""
        self._places: dict[str, list[tuple[str, Path]]] = {}
        for path in sorted(dist.iterdir()) if dist.is_dir() else ():
            found = identified(path.name)
            if found and (found.tags is None or found.tags & tags.keys()):
                self._add(found.name, found.version, path)
        for info in eggs.glob("*.egg/*.dist-info") if eggs else ():
            name, _, version = info.stem.rpartition("-")
            self._add(canonicalize_name(name), version, info.parent)

    def _add(self, name: str, version: str, path: Path) -> None:
        self._places.setdefault(name, []).append((version, path))

    def find(self, wanted: Requirement, pin: str | None) -> Path | None:
        """Return the file that meets a requirement, preferably one with metadata."""
        fitting = [
            path
            for version, path in self._places.get(canonicalize_name(wanted.name), ())
            if _meets(version, wanted, pin)
        ]
        return min(fitting, key=lambda path: path.name.endswith((".gz", ".zip")), default=None)


def _meets(version: str, wanted: Requirement, pin: str | None) -> bool:
    try:
        Version(version)
    except InvalidVersion:
        return version == pin
    return wanted.specifier.contains(version, True) and (not pin or is_pinned(version, pin))


class Unknown(Distribution):
    """A distribution without metadata here."""

    def read_text(self, filename: str) -> str | None:
        return "Name: unknown\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise NotImplementedError


def find(
    requirements: Iterable[str],
    shelf: Shelf,
    pins: Mapping[str, str],
    environment: Mapping[str, str],
    built: Iterable[Path | str] = (),
) -> Missing:
    """Return the distributions for ``requirements`` that ``shelf`` lacks.

    :param pins: versions by any form of their names
    :param environment: what markers are about, as ``python_version``
    :param built: folders and wheels of what was made here, or names of what is provided
    """
    known = {str(canonicalize_name(name)): pin for name, pin in pins.items()}
    local: dict[str, Distribution] = {}
    for each in built:
        found = Unknown() if isinstance(each, str) else described(each)
        local[canonicalize_name(each) if isinstance(each, str) else name_of(found)] = found
    missing, mentioned = Missing(), set(local)
    unknown: set[str] = set()

    def get(wanted: Requirement) -> Distribution:
        name = str(canonicalize_name(wanted.name))
        mentioned.add(name)
        if name in local:
            return local[name]
        place = shelf.find(wanted, known.get(name))
        if place and place.suffix in (".whl", ".egg"):
            return described(place)
        unknown.add(name)
        if place is None:
            missing.surely[_text(wanted, known.get(name))] = None
        return Unknown()

    follow(map(Requirement, requirements), get, environment)
    for name, pin in known.items() if unknown else ():
        # Buildout adds ranges of what it runs on, which is there.
        is_exact = pin[:1] not in "<>=!~"
        if is_exact and name not in mentioned and not shelf.find(Requirement(name), pin):
            missing.perhaps[_text(Requirement(name), pin)] = None
    return missing


def _text(wanted: Requirement, pin: str | None) -> str:
    if pin is None:
        return f"{wanted.name}{wanted.specifier}"
    return f"{wanted.name}{pin}" if pin[0] in "<>=!~" else f"{wanted.name}=={pin}"


# A distribution that is nowhere: its name, and where it was looked for.


OFFERED = 3
"""Number of existing versions that are named, the newest ones."""


def not_found_message(error: easy_install.MissingDistribution, run: Any, places: Places) -> str:
    """Return the message on a distribution that zc.buildout misses.

    :param run: zc.buildout
    """
    requirement, working_set = error.data
    wanted_by = [dist for dist in working_set if requirement.key in _required(dist)]
    offered = [f"{requirement.project_name} {v}" for v in _offered(requirement, places)]
    by = wanted_by[0].project_name if wanted_by else ""
    return nowhere(requirement.project_name, str(requirement), by, offered, run, places)


def nowhere(
    name: str, wanted: str, by: str, offered: Sequence[str], run: Any, places: Places
) -> str:
    """Return the message on a distribution that is nowhere: who needs it, where it was searched.

    :param by: what needs it; empty if the user does
    :param offered: the versions that there are, the newest last
    :param run: zc.buildout
    """
    layout = Layout.of(run)
    text = f"cannot get {wanted}{f', which {by} needs' if by else ''}: "
    if offered:
        return f"{text}there is only {', '.join(offered[-OFFERED:])}"
    if not layout.offline and (cached := _cached(name, layout.dist)):
        return f"{text}no index and no find-links has it; {cached} is used by a run with -o alone"
    looked = [str(layout.dist), *places.links]
    index = "" if layout.offline else f", nor is there a page of it in the index {_index(places)}"
    return f"{text}it is not in {', '.join(looked)}{index}{_meant(name, run, layout)}"


def _cached(name: str, folder: Path) -> Path | None:
    """Return a file of a distribution in the download cache, which is no index unless offline."""
    wanted = canonicalize_name(name)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    named = (each for each in files if canonicalize_name(each.name.partition("-")[0]) == wanted)
    return next(named, None)


def _required(dist: Any) -> set[str]:
    return {requirement.key for requirement in dist.requires()}


def _index(places: Places) -> str:
    return places.index or str(easy_install.default_index_url)


def _offered(requirement: Any, places: Places) -> list[Any]:
    """Return the existing versions of a distribution, from the index that was read already."""
    return sorted(
        dist.parsed_version
        for (url, _), index in easy_install._indexes.items()
        if url == places.index
        for dist in index[requirement.key]
    )


def _meant(name: str, run: Any, layout: Layout) -> str:
    """Return "; did you mean ...?" with similar known names."""
    known = set(run.get(run["buildout"]["versions"]) or {})
    if layout.dist.is_dir():
        found = (identified(path.name) for path in layout.dist.iterdir())
        known |= {each.name for each in found if each}
    key = name.lower()
    return near(key, {name.lower() for name in known} - {key}, 0.8)
