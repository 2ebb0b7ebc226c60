"""Choose the files of an application as a whole, and keep the choice in the checkout.

The index, find-links, pins and constraints decide; no cache does.  What was chosen stays until
what decides changes, or somebody asks for the newest.
"""

import functools
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import Distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import canonicalize_name
from packaging.version import Version

from pylonyard.config.layout import Layout
from pylonyard.packages import downloads
from pylonyard.packages.index import Offer, Places
from pylonyard.packages.integrity import RefusedError, check_file
from pylonyard.packages.metadata import Found, Metadata, described
from pylonyard.packages.resolver import record
from pylonyard.packages.resolver.finder import Finder
from pylonyard.packages.resolver.pins import Limits, is_exact
from pylonyard.packages.resolver.record import Chosen
from pylonyard.packages.wheels import sha256
from pylonyard.system import progress
from pylonyard.system.errors import PylonyardError

if TYPE_CHECKING:
    from pylonyard.packages.resolver.provider import Conflict, Provider, Wanted

log = logging.getLogger("pylonyard")

WITH_PKG_RESOURCES = "setuptools<82"
"""What packages with an old kind of namespaces need when they run."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """All that decides about the versions of an application."""

    requirements: tuple[str, ...]
    places: Places
    limits: Limits
    environment: Mapping[str, str]
    tags: Mapping[Tag, int]
    given: Mapping[str, Metadata] = field(default_factory=dict)
    """What no index is asked for, by canonical name: source trees, what the Python brings."""
    trees: Mapping[str, str] = field(default_factory=dict)
    """The metadata of trees among these, by digest, which is kept with the choice."""
    named: Mapping[str, Offer] = field(default_factory=dict)
    """The files that requirements name by a URL, by canonical name."""
    from_index: frozenset[str] = frozenset()
    prefer_final: bool = True
    build: Callable[[Path], str]
    """Returns the text of the metadata of a source archive."""

    def digest(self) -> str:
        held = [
            list(self.requirements),
            list(self.places.links),
            self.places.index or "",
            self.limits.held(),
            sorted(self.environment.items()),
            sorted(str(tag) for tag in self.tags)[:3],
            # A tree is another version after each commit, and needs the same.
            sorted(
                (name, each.requires, each.requires_python, sorted(each.extras))
                for name, each in self.given.items()
            ),
            sorted(self.from_index),
            self.prefer_final,
            *sorted((name, each.url, each.sha256) for name, each in self.named.items()),
        ]
        return hashlib.sha256(json.dumps(held).encode()).hexdigest()

    @property
    def exact(self) -> set[str]:
        """Return the distributions whose version a requirement of the user names."""
        wanted = map(Requirement, self.requirements)
        exact = (each.name for each in wanted if each.url or is_exact(each.specifier))
        return {str(canonicalize_name(name)) for name in exact}


def given(projects: Iterable[Path], *more: Distribution) -> dict[str, Metadata]:
    """Return the metadata of built source trees, and of what is installed besides."""
    found = [Metadata.of(each) for each in [*more, *map(described, projects)]]
    return {each.name: each for each in found}


def choose(run: Any, section: str, request: Request) -> list[Chosen]:
    """Return the distributions for a section of a buildout, as they were chosen or are now.

    :raises PylonyardError: if no versions fit together, or one cannot be had
    """
    layout = Layout.of(run)
    digest = request.digest()
    wants_newest = run["buildout"].get("newest") == "true" and not layout.offline
    chosen = None if wants_newest else record.chosen(layout.directory, section, digest)
    if chosen is None:
        asked = request if wants_newest else _keeping(layout.directory, section, request)
        with progress.of(f"Choosing the versions of {section}", alone=False):
            chosen = _Choice(run, layout, asked).made()
    elif record.trees(layout.directory, section) == request.trees:
        return chosen
    record.keep(layout.directory, section, digest, chosen, request.trees)
    return chosen


def _keeping(directory: Path, section: str, request: Request) -> Request:
    """Return a request that prefers the versions of before, if only some shall move."""
    held, moving = record.preferred(directory, section)
    ours = {n: v for n, v in request.limits.preferred.items() if n not in moving}
    return replace(request, limits=Limits(request.limits.all, {**ours, **held}))


class _Choice:
    """One resolution, of which a message may have to tell."""

    def __init__(self, run: Any, layout: Layout, request: Request) -> None:
        # Here, since a run in which nothing is chosen has no use for it.
        from pylonyard.packages.resolver import provider

        self.provider_module = provider
        self.run, self.layout, self.request = run, layout, request
        places = request.places
        if layout.offline:
            places = Places(index=str(layout.dist))
        self.finder = Finder(
            places,
            functools.partial(bring, places, layout.cache),
            request.tags,
            request.environment,
            request.build,
            {
                name: Found(name, Version(each.version), given=each)
                for name, each in request.given.items()
            },
            request.from_index,
            request.named,
        )

    def made(self) -> list[Chosen]:
        chosen = self._resolved(self.request.requirements)
        if not any(each.name == "setuptools" for each in chosen) and self._need_setuptools(chosen):
            pinned = self.request.limits.of("setuptools")
            more = "setuptools" if pinned else WITH_PKG_RESOURCES
            chosen = self._resolved([*self.request.requirements, more])
        return chosen

    def _resolved(self, requirements: Iterable[str]) -> list[Chosen]:
        request = self.request
        provider = self.provider_module.Provider(
            self.finder, request.limits, prefer_final=request.prefer_final
        )
        try:
            found, exact = self.provider_module.resolve(provider, map(Requirement, requirements))
        except self.provider_module.Conflict as error:
            raise self._explained(provider, error) from error
        for name, each in found.items():
            if each.offer and each.offer.withdrawn is not None:
                log.warning("%s %s was yanked: its maker advises against it.", name, each.version)
        return [
            Chosen(name, str(each.version), each.offer.url, _digest(each.offer), name in exact)
            for name, each in found.items()
            if each.offer
        ]

    def _need_setuptools(self, chosen: Iterable[Chosen]) -> bool:
        """Return whether one has namespaces of an old kind, which its own file tells."""
        for each in chosen:
            found = self.layout.dist / _offer(each).name
            file = found if found.exists() else Path(each.url)
            if file.suffix == ".whl" and file.exists() and has_old_namespaces(described(file)):
                return True
        return False

    def _explained(self, provider: "Provider", error: "Conflict") -> PylonyardError:
        """Return what is wrong: what is nowhere, or else what excludes each other."""
        limits = self.request.limits
        for wanted, chain in error.causes:
            name = wanted.project
            if name.startswith("<") or name in self.finder.given:
                continue
            files, limited = provider.allowed(name), limits.specifier(name)
            if provider.best(files, wanted.specifier & limited):
                continue
            told = "; ".join(limit.told for limit in limits.of(name))
            if not provider.best(files, wanted.specifier):
                return self._nowhere(wanted, chain, str(wanted))
            if not provider.best(files, limited):
                text = f"{wanted.spelled or name}{limited} ({told})"
                return self._nowhere(wanted, chain, text)
            asking = " -> ".join(chain) or "eggs"
            return PylonyardError(f"no versions fit together: {asking} needs {wanted}, but {told}")
        for one, other in itertools.combinations(error.causes, 2):
            name = one[0].project
            if name != other[0].project or name.startswith("<") or name in self.finder.given:
                continue
            both = one[0].specifier & other[0].specifier & limits.specifier(name)
            if not provider.best(provider.allowed(name), both):
                error = self.provider_module.Conflict([one, other])
                break
        pins = [limit.told for name in error.projects for limit in limits.of(name)]
        return PylonyardError("; ".join([str(error), *pins]))

    def _nowhere(self, wanted: "Wanted", chain: Sequence[str], text: str) -> "NowhereError":
        name = wanted.spelled or wanted.project
        offered = [f"{name} {each}" for each in self._versions(wanted.project)]
        is_linked = self.finder.is_linked(wanted.project) and not self.layout.offline
        advice = f"; find-links has it, so no index is asked: from-index = {name} has it asked"
        return NowhereError(name, text, chain, offered, advice if is_linked else "")

    def _versions(self, project: str) -> list[str]:
        files = self.finder.files(project)
        yanked = {each.version for each in files if each.offer and each.offer.withdrawn is not None}
        versions = sorted({each.version for each in files})
        return [f"{each}, which was yanked" if each in yanked else str(each) for each in versions]


class NowhereError(PylonyardError):
    """No place has a distribution, or none that is allowed."""

    def __init__(
        self, name: str, wanted: str, chain: Sequence[str], offered: Sequence[str], advice: str
    ) -> None:
        """:param chain: what leads to it; :param offered: the versions that there are"""
        super().__init__(f"cannot get {wanted}")
        self.name, self.wanted, self.by = name, wanted, " -> ".join(chain)
        self.offered, self.advice = offered, advice


def has_old_namespaces(found: Distribution) -> bool:
    """Return whether a distribution has namespaces that need pkg_resources at run time."""
    return bool((found.read_text("namespace_packages.txt") or "").strip())


def _digest(offer: Offer) -> str:
    """Return the SHA-256 of a file, as the index states it, or as it is on this machine."""
    if not offer.sha256 and "://" not in offer.url:
        return sha256(Path(offer.url))
    return offer.sha256 or ""


def picked(request: Request, chosen: Iterable[Chosen]) -> dict[str, str]:
    """Return the versions that nobody has named, by canonical name."""
    return {
        each.name: each.version
        for each in chosen
        if not each.is_exact
        and each.name not in request.exact
        and not request.limits.is_pinned(each.name, each.version)
    }


def fetch(layout: Layout, places: Places, chosen: Iterable[Chosen]) -> None:
    """Bring the chosen files to the download cache, several at once.

    :raises CommandError: if one cannot be had
    """
    lacking = [each for each in chosen if not _is_there(layout, each)]
    if layout.offline or not lacking:
        return

    def get(each: Chosen) -> None:
        bring(places, layout.cache, _offer(each))

    doing = progress.of("Downloading", len(lacking), unit="files")
    with doing as step:
        for each, _ in downloads.in_parallel(get, lacking):
            step.at(step.done + 1, _offer(each).name)


def bring(places: Places, cache: Path, offer: Offer) -> Path:
    """Return a file in the download cache; download it if need be.

    One of its name in the cache that is another goes to quarantine, and is told.

    :raises CommandError: if it cannot be had
    :raises RefusedError: if what is downloaded has not the SHA-256 that was stated
    """
    place, digests = cache / "dist" / offer.name, {offer.sha256} if offer.sha256 else set()

    def check(file: Path) -> None:
        if digests:
            check_file(file, digests, cache)

    if place.exists():
        try:
            check(place)
            return place
        except RefusedError as error:
            if not error.aside:
                raise
            log.warning("%s", error)
    place.parent.mkdir(parents=True, exist_ok=True)
    return places.bring(offer, place.parent, check)


def _offer(chosen: Chosen) -> Offer:
    return Offer(chosen.url, chosen.sha256 or None)


def _is_there(layout: Layout, chosen: Chosen) -> bool:
    place = layout.dist / _offer(chosen).name
    return place.exists() and (not chosen.sha256 or sha256(place) == chosen.sha256)


def installed(eggs: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the version of each egg in an egg directory."""
    for egg in eggs.glob("*.egg"):
        name, _, rest = egg.name.partition("-")
        yield str(canonicalize_name(name)), rest.partition("-")[0]
