"""Find the files of a project in an index (PEP 503, 691), and in ``find-links``."""

import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import zc.buildout.easy_install
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from pylonyard.packages import credentials
from pylonyard.system import atomic
from pylonyard.system.errors import CommandError

SECONDS = 15.0
"""Seconds to wait for an answer, as in zc.buildout."""


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
    metadata: str | None = None
    """The SHA-256 of the file with its metadata (PEP 658), '' if unknown; None: no such file."""

    def is_for(self, python: str) -> bool:
        """Return whether it is for a version of Python."""
        try:
            return SpecifierSet(self.requires_python).contains(python, prereleases=True)
        except InvalidSpecifier:
            return True  # as in pip

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
        yield from self.linked()
        yield from self.indexed(project)

    def linked(self) -> Iterator[Offer]:
        """Yield the files of all links."""
        for place in self.links:
            yield from _listed(self, place)

    def indexed(self, project: str) -> Iterator[Offer]:
        """Yield the files of a project that the index has.

        :raises CommandError: if it does not answer
        """
        base = (self.index or str(zc.buildout.easy_install.default_index_url)).rstrip("/")
        folder = Path(unquote(base.removeprefix("file://")))
        if folder.is_dir() and not (folder / project).exists():
            # One folder with the files of all projects, such as the download cache.
            yield from _listed(self, base)
        else:
            yield from _listed(self, f"{base}/{project}/")

    def allow(self, url: str) -> bool:
        """Return whether ``allow-hosts`` has the host of a URL."""
        return bool(self._client.url_ok(url))

    @property
    def _client(self) -> Any:
        """Return zc.buildout's client, which knows the allowed hosts."""
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

    def read(self, offer: Offer, suffix: str = "") -> bytes:
        """Return what a file holds.

        :param suffix: what follows its URL, for a file beside it
        :raises CommandError: if it cannot be had
        """
        return b"".join(_blocks(offer.url + suffix, offer.name + suffix))

    def download(self, offer: Offer, folder: Path) -> Path:
        """Download a file to ``folder``.

        :raises CommandError: if it cannot be had
        """
        target = folder / offer.name
        try:
            with open(target, "wb") as stream:
                for block in _blocks(offer.url, offer.name):
                    stream.write(block)
        except OSError as error:
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


def _listed(places: Places, place: str) -> Iterator[Offer]:
    folder = Path(unquote(place.removeprefix("file://")))
    if folder.is_file() and not folder.suffix.startswith(".htm"):
        yield Offer(os.fspath(folder))
        return
    if folder.is_dir() and not (folder / "index.html").exists():
        yield from (Offer(os.fspath(path)) for path in sorted(folder.iterdir()))
        return
    if folder.is_dir():
        place = (folder / "index.html").resolve().as_uri()
    if urlparse(place).scheme and places.allow(place):
        yield from _page(place)


# What an index answers: a page of links (PEP 503), or JSON (PEP 691).


_ACCEPTED = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.1, */*;q=0.01"
)


_NO_PAGE = (403, 404, 410)
"""What hosts answer if they have no such page; 403: a store of files whose folders nobody lists."""


def _page(url: str) -> Iterator[Offer]:
    """Yield the files that a page names; none if there is no such page."""
    try:
        with open_url(url, _ACCEPTED) as answer:
            content, place = answer.read(), answer.url
            kind = answer.headers.get_content_type()
    except HTTPError as error:
        if error.code in _NO_PAGE:
            error.close()
            return
        raise CommandError(f"cannot read {url}", _status(error)) from error
    except (OSError, HTTPException) as error:
        if isinstance(getattr(error, "reason", None), FileNotFoundError):
            return
        raise CommandError(f"cannot read {url}", _in_a_line(error)) from error
    if kind.endswith("+json"):
        yield from _of_json(content, place)
        return
    parser = _Links()
    parser.feed(content.decode("utf-8", "replace"))
    for link in parser.found:
        yield _of_link(link, urljoin(place, parser.base))


def _of_json(content: bytes, place: str) -> Iterator[Offer]:
    try:
        files = json.loads(content)["files"]
        for file in files:
            stated = file.get("core-metadata", file.get("dist-info-metadata", False))
            digests = stated if isinstance(stated, dict) else {}
            yield Offer(
                credentials.KNOWN.take(urljoin(place, file["url"])),
                file.get("hashes", {}).get("sha256"),
                _reason(file.get("yanked", False)),
                file.get("requires-python") or "",
                digests.get("sha256", "") if stated else None,
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"cannot read {place}", "it is no list of files (PEP 691)") from error


def _reason(yanked: bool | str) -> str | None:
    if isinstance(yanked, str):
        return yanked
    return "" if yanked else None


def _of_link(link: Mapping[str, str | None], base: str) -> Offer:
    whole, fragment = urldefrag(credentials.KNOWN.take(urljoin(base, link["href"] or "")))
    stated = link.get("data-core-metadata", link.get("data-dist-info-metadata"))
    return Offer(
        whole,
        _sha256(fragment),
        (link["data-yanked"] or "") if "data-yanked" in link else None,
        link.get("data-requires-python") or "",
        None if stated in (None, "false") else _sha256(stated) or "",
    )


def _sha256(text: str | None) -> str | None:
    found = re.fullmatch(r"sha256=([0-9a-f]{64})", text or "")
    return found[1] if found else None


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if named.get("href") and tag == "a":
            self.found.append(named)
        if named.get("href") and tag == "base" and not self.base:
            self.base = str(named["href"])


def open_url(url: str, accept: str = "*/*") -> Any:
    """Open a URL; the answer has to be closed.

    :raises OSError: if it cannot be had; an HTTPError for a status that is no success
    :raises CommandError: if it asks for a password that nobody has
    """
    request = urllib.request.Request(url, headers={"Accept": accept})
    return urllib.request.urlopen(request, timeout=SECONDS)


def _status(error: HTTPError) -> str:
    error.close()
    return f"{error.code} {error.reason}"


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _blocks(url: str, name: str) -> Iterator[bytes]:
    try:
        if not urlparse(url).scheme:
            yield Path(url).read_bytes()
            return
        with open_url(url) as answer:
            while block := answer.read(1 << 16):
                yield block
    except HTTPError as error:
        raise CommandError(f"cannot get {name}", f"{url}: {_status(error)}") from error
    except (OSError, HTTPException) as error:
        raise CommandError(f"cannot get {name}", _in_a_line(error)) from error
