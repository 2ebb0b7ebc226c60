"""Download the wheels of the tools from the package index, without pip.

Standard library only: ``bootstrap.py`` uses this while there is nothing else.  pip downloads the
rest, and reports errors.  A file is accepted if its SHA-256 is the recorded one, whoever sends it.
"""

import configparser
import gzip
import hashlib
import html
import http.client
import os
import re
import socket
import ssl
import sys
import threading
import urllib.request
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from pylonyard.packages import credentials, wheels
from pylonyard.system import atomic
from pylonyard.system.errors import PylonyardError

# Connections to package indexes, several at once; standard library only.
#
# The machine's certificates are read once, not for every connection: that takes 40 ms of a
# processor each time.


Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 8
"""Number of connections, about as many as a browser has to one host."""
SECONDS = 15.0
"""Seconds to wait for an answer, as in zc.buildout."""


class Https(urllib.request.HTTPSHandler):
    """Open ``https:`` addresses, with certificates that are read once."""

    def __init__(self, certificates: str | None = None) -> None:
        """:param certificates: a file or folder of those to trust; None: the machine's."""
        super().__init__()
        self._certificates = certificates
        self._reading = threading.Lock()
        self._trusting: ssl.SSLContext | None = None

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        with self._reading:
            if self._trusting is None:
                self._trusting = ssl_context(self._certificates)
        return self.do_open(http.client.HTTPSConnection, req, context=self._trusting)


def ssl_context(certificates: str | None) -> ssl.SSLContext:
    """Return an SSL context that checks a host's certificate against ``certificates``."""
    if certificates and os.path.isdir(certificates):
        return ssl.create_default_context(capath=certificates)
    return ssl.create_default_context(cafile=certificates)


def opener(certificates: str | None = None) -> urllib.request.OpenerDirector:
    """Return an opener that uses the proxies in the environment, and the known credentials."""
    return urllib.request.build_opener(Https(certificates), credentials.Handler())


def install() -> None:
    """Make this process, and zc.buildout in it, download by our opener."""
    urllib.request.install_opener(opener())


def in_parallel(
    work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Call ``work`` with each item, several at once; yield the results as they come.

    :raises Exception: the first that ``work`` raises; items that have not begun are dropped
    """
    # Imported here: it takes time, and most runs download nothing.
    from concurrent.futures import ThreadPoolExecutor, as_completed

    # The default timeout is global, so set it once for all threads.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(before or SECONDS)
    hands = ThreadPoolExecutor(AT_ONCE)
    try:
        begun = {hands.submit(work, item): item for item in items}
        for ended in as_completed(begun):
            yield begun[ended], ended.result()
    finally:
        hands.shutdown(wait=False, cancel_futures=True)
        socket.setdefaulttimeout(before)


# What pip is configured to do about package indexes; standard library only.


def read(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return pip's settings for ``pip download``, by their long names: ``index-url``.

    The most particular wins: ``PIP_INDEX_URL`` and the like, then what the files say of
    ``download``, then what they say of all commands; the user's files before the machine's.

    :raises ValueError: if a file cannot be read as pip's configuration
    """
    stated: dict[str, dict[str, str]] = {"global": {}, "download": {}, "environment": {}}
    for path in _files(environ):
        for section, settings in _parsed(path).items():
            stated.setdefault(section, {}).update(settings)
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            stated["environment"][_name(name.removeprefix("PIP_"))] = value
    return {**stated["global"], **stated["download"], **stated["environment"]}


def _parsed(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error
    return {
        section: {_name(name): value for name, value in parser.items(section)}
        for section in parser.sections()
    }


def _name(text: str) -> str:
    return text.lower().replace("_", "-").removeprefix("--")


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files that pip would read on this system, the most general first."""
    own = environ.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return
    for folder in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
        yield Path(folder, "pip", "pip.conf")
    yield Path("/etc/pip.conf")
    if not (own and os.path.exists(own)):
        home = Path(environ.get("HOME") or Path.home())
        yield home / ".pip" / "pip.conf"
        yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
    yield Path(sys.prefix, "pip.conf")
    if own:
        yield Path(own)


Pin = tuple[str, str, Collection[str]]
"""A canonical name, a version, and the allowed SHA-256 digests of its files."""

INDEX = "https://pypi.org/simple"
PIP_ALONE = ("client-cert", "no-index", "proxy", "pypi-url", "trusted-host")
"""Settings that only pip understands."""
LINK = re.compile(r"""<a\s[^>]*?href\s*=\s*["']([^"']+#sha256=[0-9a-f]{64})["']""", re.I)


class IndexAccessError(PylonyardError):
    """An index does not answer, or not properly."""


@dataclass(frozen=True)
class Index:
    """A package index (PEP 503)."""

    url: str
    opener: urllib.request.OpenerDirector

    @classmethod
    def configured(cls, settings: Mapping[str, str], environ: Mapping[str, str]) -> "Index | None":
        """Return the index in pip's configuration; None if only pip can use it."""
        url = settings.get("index-url", INDEX)
        if any(name in settings for name in PIP_ALONE) or "@" in urlsplit(url).netloc:
            return None
        if urlsplit(url).scheme not in ("http", "https"):
            return None
        bundles = [environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
        certificates = next(filter(None, [settings.get("cert"), *bundles]), None)
        return cls(url, opener(certificates))

    def wheel(self, pin: Pin) -> tuple[str, bytes] | None:
        """Return the name and the bytes of the wheel of ``pin`` for this interpreter.

        None if the index has no such file.

        :raises IndexAccessError: if it does not answer
        """
        name, _, digests = pin
        page, text = self._read(f"{self.url.rstrip('/')}/{name}/")
        for link in LINK.findall(text.decode("utf-8", "replace")):
            url, stated = urldefrag(urljoin(page, html.unescape(link)))
            file = unquote(urlsplit(url).path).rpartition("/")[2]
            if stated.rpartition("=")[2] in digests and is_for_us(file):
                content = self._read(url)[1]
                return (file, content) if _digest(content) in digests else None
        return None

    def _read(self, url: str) -> tuple[str, bytes]:
        """Return the address of the last answer, after redirects, and its content."""
        headers = {"Accept": "text/html, */*;q=0.1", "Accept-Encoding": "gzip"}
        request = urllib.request.Request(url, headers=headers)
        try:
            with self.opener.open(request, timeout=SECONDS) as answer:
                content = answer.read()
                if answer.headers.get("Content-Encoding") == "gzip":
                    content = gzip.decompress(content)
                return answer.url, content
        except (
            OSError,
            HTTPException,
            EOFError,
            ValueError,
            zlib.error,
            PylonyardError,
        ) as error:
            if isinstance(error, HTTPError):
                error.close()
            raise IndexAccessError(f"{url}: {error}") from error


def is_for_us(file: str) -> bool:
    """Return whether this interpreter may use a file, which is a wheel then."""
    return file.endswith(".whl") and file.count("-") >= 4 and wheels.is_supported(Path(file))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def download_wheels(pins: Sequence[Pin], dist: Path, done: Callable[[str], object]) -> None:
    """Download the wheels of ``pins`` to ``dist``, as far as that works without pip.

    :param done: is called with the name of each pin that is done
    :raises OSError: if ``dist`` cannot be written
    """
    try:
        index = Index.configured(read(), os.environ)
        if index:
            _download(index, pins, dist, done)
    except (IndexAccessError, ValueError):
        return  # If pip fails too, it reports the reason.


def _download(index: Index, pins: Sequence[Pin], dist: Path, done: Callable[[str], object]) -> None:
    with atomic.draft(dist) as folder:
        for pin, found in in_parallel(index.wheel, pins):
            if found:
                name, content = found
                (folder / name).write_bytes(content)
                (folder / name).replace(dist / name)
            done(pin[0])
