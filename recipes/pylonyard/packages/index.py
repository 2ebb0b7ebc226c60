"""Find the files and digests of a project in an index, and in ``find-links``."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import zc.buildout.easy_install
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from zc.buildout._package_index import DistutilsError

from pylonyard.packages import credentials
from pylonyard.system import atomic
from pylonyard.system.errors import CommandError


@dataclass(frozen=True)
class Offer:
    """A file that can be downloaded."""

    url: str
    """A URL, or a path on this machine."""
    sha256: str | None = None
    withdrawn: str | None = None
    """Why it was withdrawn ("yanked", PEP 592); None if it was not."""
    requires_python: str = ""
    """The interpreters that it is for, as its index has them (PEP 503)."""

    def is_for(self, python: str) -> bool:
        """Return whether it is for an interpreter of this version, as far as is known."""
        try:
            return SpecifierSet(self.requires_python).contains(python, prereleases=True)
        except InvalidSpecifier:
            return True

    @property
    def name(self) -> str:
        return unquote(urlparse(self.url).path).rpartition("/")[2]


@dataclass(frozen=True)
class Places:
    """The places in which distributions are searched, in order."""

    links: tuple[str, ...] = ()
    """Folders, or pages with links to files."""
    index: str | None = None
    """The index; default: zc.buildout's own."""
    hosts: tuple[str, ...] = ("*",)
    """Patterns of the allowed hosts."""

    def __post_init__(self) -> None:
        """Keep the credentials of the addresses elsewhere: these are printed."""
        object.__setattr__(self, "links", tuple(map(credentials.KNOWN.take, self.links)))
        object.__setattr__(self, "index", self.index and credentials.KNOWN.take(self.index))

    @classmethod
    def of(
        cls,
        buildout: Mapping[str, Any],
        links: Sequence[str] | None = None,
        index: str | None = None,
    ) -> "Places":
        """Return the places of a section of a buildout.

        :param links: the section's own; the buildout's if it has none
        """
        base = buildout["buildout"]
        return cls(
            tuple(links or (base.get("find-links") or "").split()),
            index or base.get("index") or None,
            tuple((base.get("allow-hosts") or "*").split()),
        )

    def offers(self, project: str) -> Iterator[Offer]:
        """Yield the files of a project by its canonical name; from links, all their files."""
        for place in self.links:
            yield from _listed(self._client, place)
        yield from _listed(self._client, urljoin(self._client.index_url, f"{project}/"))

    def allow(self, url: str) -> bool:
        """Return whether ``allow-hosts`` has the host of a URL."""
        return bool(self._client.url_ok(url))

    @property
    def _client(self) -> Any:
        """Return zc.buildout's client, which handles proxies, passwords and allowed hosts."""
        return zc.buildout.easy_install._get_index(self.index or None, (), self.hosts)

    def pip_options(self) -> list[str]:
        """Return pip's options for these places, but for those with a login."""
        options = []
        for place in self.links:
            options += [] if place in credentials.KNOWN.given else ["--find-links", place]
        if self.index and self.index not in credentials.KNOWN.given:
            options += ["--index-url", self.index]
        return options

    def pip_variables(self) -> dict[str, str]:
        """Return pip's variables for places with a login: anybody can read a command line."""
        known, variables = credentials.KNOWN, {}
        if self.index and self.index in known.given:
            variables["PIP_INDEX_URL"] = known.with_login(self.index)
        links = [known.with_login(place) for place in self.links if place in known.given]
        if links:
            variables["PIP_FIND_LINKS"] = " ".join([*links, os.environ.get("PIP_FIND_LINKS", "")])
        return variables

    def download(self, offer: Offer, folder: Path) -> Path:
        """Download a file to ``folder``.

        :raises CommandError: if it cannot be had
        """
        target = folder / offer.name
        try:
            with open(target, "wb") as stream:
                for block in _blocks(self._client, offer.url):
                    stream.write(block)
        except (OSError, DistutilsError) as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"cannot get {offer.name}", reason) from error
        return target

    def bring(self, offer: Offer, dist: Path, check: Callable[[Path], object]) -> Path:
        """Download a file to ``dist``, atomically, after ``check`` has accepted it.

        :param check: raises an error if the file is not what it should be
        :raises CommandError: if it cannot be had
        """
        with atomic.draft(dist) as folder:
            brought = self.download(offer, folder)
            check(brought)
            return brought.replace(dist / offer.name)


def find(places: Places, project: str, name: str) -> Offer | None:
    """Return the first offer of a file called ``name``."""
    return next((offer for offer in places.offers(project) if offer.name == name), None)


def digests(offers: Sequence[Offer]) -> dict[str, str]:
    """Return the SHA-256 of each file that has one: name -> digest."""
    return {offer.name: offer.sha256 for offer in offers if offer.sha256}


def _listed(client: Any, place: str) -> Iterator[Offer]:
    folder = Path(place.removeprefix("file://"))
    if folder.is_file() and not folder.suffix.startswith(".htm"):
        yield Offer(os.fspath(folder))
        return
    if folder.is_dir() and not (folder / "index.html").exists():
        yield from (Offer(os.fspath(path)) for path in sorted(folder.iterdir()))
        return
    if folder.is_dir():
        place = (folder / "index.html").resolve().as_uri()
    page = _page(client, place)
    for link in page:
        url = link["href"]
        whole, fragment = urldefrag(credentials.KNOWN.take(urljoin(place, url)))
        stated = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
        why = link.get("data-yanked")
        needed = link.get("data-requires-python") or ""
        yield Offer(whole, stated[1] if stated else None, why, needed)


_NO_PAGE = (403, 404, 410)
"""What hosts answer if they have no such page; 403: a store of files whose folders nobody lists."""


def _page(client: Any, url: str) -> list[dict[str, str]]:
    """Return the attributes of the links on a page; none if there is no such page."""
    if not urlparse(url).scheme or not client.url_ok(url):
        return []
    try:
        with client.open_url(url) as answer:
            if (code := getattr(answer, "code", None) or 200) in _NO_PAGE:
                return []
            if code != 200:
                raise OSError(f"{code} {answer.reason}")
            content = answer.read()
    except (OSError, DistutilsError) as error:
        raise CommandError(f"cannot read {url}", " ".join(str(error).split())) from error
    parser = _Links()
    parser.feed(content if isinstance(content, str) else content.decode("utf-8", "replace"))
    return parser.found


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.found += [given] if tag == "a" and given.get("href") else []


def _blocks(client: Any, url: str) -> Iterator[bytes]:
    if not urlparse(url).scheme:
        yield Path(url).read_bytes()
        return
    with client.open_url(url) as answer:
        if getattr(answer, "code", 200) not in (200, None):
            raise OSError(f"{url}: status {answer.code}")
        while block := answer.read(1 << 16):
            yield block
