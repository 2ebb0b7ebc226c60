"""The wheels of the tools, brought from the package index without pip.

Standard library only: ``bootstrap.py`` uses this while there is nothing else.  What it
cannot bring as pip would, or at all, is left to pip, which tells why.  A file counts
by its recorded SHA-256 alone, whoever sends it.
"""

import gzip
import hashlib
import html
import os
import re
import urllib.request
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from pylonyard import connections, drafts, pip_settings, wheels

Pin = tuple[str, str, Collection[str]]
"""A canonical name, a version, and the SHA-256 that its files may have."""

INDEX = "https://pypi.org/simple"
PIP_ALONE = ("client-cert", "no-index", "proxy", "pypi-url", "trusted-host")
"""Settings of which pip knows what they mean."""
LINK = re.compile(r"""<a\s[^>]*?href\s*=\s*["']([^"']+#sha256=[0-9a-f]{64})["']""", re.I)


class IndexFailure(Exception):
    """An index does not answer, or not as one does."""


@dataclass(frozen=True)
class Index:
    """A package index, as of PEP 503."""

    url: str
    opener: urllib.request.OpenerDirector

    @classmethod
    def configured(cls, settings: Mapping[str, str], environ: Mapping[str, str]) -> "Index | None":
        """Return the index that pip is configured for; None if it takes pip to ask it."""
        url = settings.get("index-url", INDEX)
        if any(name in settings for name in PIP_ALONE) or "@" in urlsplit(url).netloc:
            return None
        if urlsplit(url).scheme not in ("http", "https"):
            return None
        bundles = [environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
        certificates = next(filter(None, [settings.get("cert"), *bundles]), None)
        return cls(url, connections.opener(certificates))

    def wheel(self, pin: Pin) -> tuple[str, bytes] | None:
        """Return the name and the bytes of the wheel of ``pin`` for this interpreter.

        None if the index has no such file.

        :raises IndexFailure: if it does not answer
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
        """Return the address that answered at last, and what it said."""
        headers = {"Accept": "text/html, */*;q=0.1", "Accept-Encoding": "gzip"}
        request = urllib.request.Request(url, headers=headers)
        try:
            with self.opener.open(request, timeout=connections.SECONDS) as answer:
                content = answer.read()
                if answer.headers.get("Content-Encoding") == "gzip":
                    content = gzip.decompress(content)
                return answer.url, content
        except (OSError, HTTPException, EOFError, ValueError, zlib.error) as error:
            if isinstance(error, HTTPError):
                error.close()
            raise IndexFailure(f"{url}: {error}") from error


def is_for_us(file: str) -> bool:
    """Tell whether this interpreter may use a file, which is a wheel then."""
    return file.endswith(".whl") and file.count("-") >= 4 and wheels.fits(Path(file))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def bring(pins: Sequence[Pin], dist: Path, told: Callable[[str], object]) -> None:
    """Bring the wheels of ``pins`` into ``dist``, those at least that can be had without pip.

    :param told: is called with the name of each pin that is done
    :raises OSError: if ``dist`` cannot be written
    """
    try:
        index = Index.configured(pip_settings.read(), os.environ)
        if index:
            _bring(index, pins, dist, told)
    except (IndexFailure, ValueError):
        return  # pip will say what is wrong, if it fails too.


def _bring(
    index: Index, pins: Sequence[Pin], dist: Path, told: Callable[[str], object]
) -> None:
    with drafts.draft(dist) as folder:
        for pin, found in connections.at_once(index.wheel, pins):
            if found:
                name, content = found
                (folder / name).write_bytes(content)
                (folder / name).replace(dist / name)
            told(pin[0])
