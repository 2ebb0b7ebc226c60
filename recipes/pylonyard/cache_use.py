"""What of a cache is in use: which entries the texts of sandboxes name.

An entry counts as used as soon as anything in a sandbox that may need it mentions
it, so that nothing is ever removed on a guess.  Pure, but for the standard library.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GRACE = 3600.0
"""What is younger is kept, in seconds: a run may be about to use it."""

KINDS: Mapping[str, str] = {
    "dist": "wheels and sources",
    "eggs": "eggs",
    "sandboxes": "sandboxes",
    "projects": "projects",
    "mod_wsgi": "mod_wsgi builds",
    "configs": "configs",
}

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{20}(?![0-9a-f])")
_EGG = re.compile(r"[^/\s'\"\\]+\.egg(?![\w.-])")
_ARCHIVE = re.compile(r"(?P<stem>.+?)(\.whl|\.tar\.gz|\.tgz|\.tar\.bz2|\.zip)")

Pin = tuple[str, str]


@dataclass(frozen=True)
class Entry:
    """A file or folder at the top of a store of the cache."""

    kind: str
    """A key of ``KINDS``."""
    name: str
    size: int = field(default=0, compare=False)
    """In bytes, with all that is in it."""
    changed: float = field(default=0.0, compare=False)
    """In seconds since the epoch."""


@dataclass(frozen=True)
class Needs:
    """What a sandbox, or several, may need of a cache."""

    names: frozenset[str] = frozenset()
    """Digests of 20 digits, and names of eggs."""
    pins: frozenset[Pin] = frozenset()
    """Distributions, to be installed again: canonical name, version."""

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(self.names | other.names, self.pins | other.pins)

    def to_json(self) -> dict[str, object]:
        return {"names": sorted(self.names), "pins": [list(pin) for pin in sorted(self.pins)]}

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "Needs":
        """Return what :meth:`to_json` gave.

        :raises ValueError: if it is something else
        """
        names, pins = content.get("names"), content.get("pins")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("names: expected a list of texts")
        if not isinstance(pins, list) or not all(_is_pin(pin) for pin in pins):
            raise ValueError("pins: expected a list of names with versions")
        return cls(frozenset(names), frozenset((name, version) for name, version in pins))


def _is_pin(pin: object) -> bool:
    return isinstance(pin, list) and len(pin) == 2 and all(isinstance(word, str) for word in pin)


def canonical(name: str) -> str:
    """Return the canonical name of a project."""
    return re.sub(r"[-_.]+", "-", name).lower()


def named(texts: Iterable[str]) -> frozenset[str]:
    """Return every name that may be one of an entry."""
    return frozenset(
        match for text in texts for pattern in (_DIGEST, _EGG) for match in pattern.findall(text)
    )


def pins_of(names: Iterable[str]) -> frozenset[Pin]:
    """Return the distributions that eggs of ``names`` were made of."""
    words = (name.split("-") for name in names if name.endswith(".egg"))
    return frozenset((canonical(word[0]), word[1]) for word in words if word[1:])


def is_used(entry: Entry, needs: Needs) -> bool:
    """Tell whether ``entry`` may be needed by a sandbox that has ``needs``."""
    if entry.kind == "eggs":
        return entry.name.rpartition("/")[2] in needs.names
    if entry.kind == "configs":
        return entry.name.partition("-")[0] in needs.names
    if entry.kind == "projects":
        return entry.name.rpartition("-")[2] in needs.names
    if entry.kind == "dist":
        return _is_wanted(entry.name, needs.pins)
    return entry.name in needs.names


def _is_wanted(archive: str, pins: frozenset[Pin]) -> bool:
    """Tell whether ``pins`` has an archive's distribution; yes if that does not show."""
    stem = _ARCHIVE.fullmatch(archive)
    if not stem:
        return True
    if archive.endswith(".whl"):
        name, version = stem["stem"].split("-")[:2] if "-" in archive else ("", "")
        return not version or (canonical(name), version) in pins
    # Where the name of an sdist ends is not to be seen: shop-2-1.0.tar.gz
    words = stem["stem"].split("-")
    splits = [("-".join(words[:n]), "-".join(words[n:])) for n in range(1, len(words))]
    return not splits or any((canonical(name), version) in pins for name, version in splits)


def unused(entries: Iterable[Entry], needs: Needs, now: float) -> list[Entry]:
    """Return the entries that nobody needs, and that are not young.

    :param now: in seconds since the epoch
    """
    return [entry for entry in entries if not is_used(entry, needs) and now - entry.changed > GRACE]
