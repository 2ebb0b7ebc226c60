"""Find out who uses a cache, and which entries are in use; record a sandbox after a run."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pylonyard.system import safe_files
from pylonyard.system.atomic import files_below, write
from pylonyard.system.errors import PylonyardError
from pylonyard.system.safe_files import open_plainly

# Entries are in use if files of sandboxes name them.
#
# An entry counts as used as soon as anything in a sandbox that may need it mentions
# it, so that nothing is ever removed on a guess.  Pure, but for the standard library.


GRACE = 3600.0
"""Seconds for which a new entry is kept: a run may be about to use it."""

KINDS: Mapping[str, str] = {
    "dist": "wheels and sources",
    "eggs": "eggs",
    "sandboxes": "environments",
    "projects": "projects",
    "builds": "records of builds",
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
    """Size in bytes, with all that is in it."""
    changed: float = field(default=0.0, compare=False)
    """Time of the last change, in seconds since 1970."""


@dataclass(frozen=True)
class Needs:
    """The entries of a cache that one or more sandboxes may need."""

    names: frozenset[str] = frozenset()
    """Digests (20 digits), and names of eggs."""
    pins: frozenset[Pin] = frozenset()
    """Distributions that may be installed again: canonical name, version."""

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(self.names | other.names, self.pins | other.pins)

    def to_json(self) -> dict[str, object]:
        return {"names": sorted(self.names), "pins": [list(pin) for pin in sorted(self.pins)]}

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "Needs":
        """Convert the result of :meth:`to_json` back.

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


def possible_names(texts: Iterable[str]) -> frozenset[str]:
    """Return every name in ``texts`` that may be the name of an entry."""
    return frozenset(
        match for text in texts for pattern in (_DIGEST, _EGG) for match in pattern.findall(text)
    )


def pins_of(names: Iterable[str]) -> frozenset[Pin]:
    """Return the distributions of the eggs called ``names``."""
    words = (name.split("-") for name in names if name.endswith(".egg"))
    return frozenset((canonical(word[0]), word[1]) for word in words if word[1:])


def is_used(entry: Entry, needs: Needs) -> bool:
    """Return whether ``entry`` may be needed by a sandbox that has ``needs``."""
    if entry.kind == "eggs":
        return entry.name.rpartition("/")[2] in needs.names
    if entry.kind == "configs":
        return entry.name.partition("-")[0] in needs.names
    if entry.kind in ("projects", "builds"):
        return entry.name.removesuffix(".json").rpartition("-")[2] in needs.names
    if entry.kind == "dist":
        return _is_wanted(entry.name, needs.pins)
    return entry.name in needs.names


def _is_wanted(archive: str, pins: frozenset[Pin]) -> bool:
    """Return whether ``pins`` has an archive's distribution; True if its name does not say."""
    stem = _ARCHIVE.fullmatch(archive)
    if not stem:
        return True
    if archive.endswith(".whl"):
        name, version = stem["stem"].split("-")[:2] if "-" in archive else ("", "")
        return not version or (canonical(name), version) in pins
    # Where the name of an sdist ends does not show: shop-2-1.0.tar.gz
    words = stem["stem"].split("-")
    splits = [("-".join(words[:n]), "-".join(words[n:])) for n in range(1, len(words))]
    return not splits or any((canonical(name), version) in pins for name, version in splits)


def unused(entries: Iterable[Entry], needs: Needs, now: float) -> list[Entry]:
    """Return the entries that nobody needs, except new ones.

    :param now: in seconds since the epoch
    """
    return [entry for entry in entries if not is_used(entry, needs) and now - entry.changed > GRACE]


USERS = "users"
CACHE = "cache.json"
LARGEST = 1 << 22  # bytes of a file that may name an entry of the cache


@dataclass(frozen=True)
class Stores:
    """The cache of a sandbox, and its egg directory."""

    cache: Path
    eggs: Path


@dataclass(frozen=True)
class User:
    """A sandbox that uses a cache."""

    directory: Path
    recorded: Needs


def record_needs(directory: Path, stores: Stores, pins: Mapping[str, str]) -> bool:
    """Record in the cache what a sandbox needs; return whether the record could be written.

    :param pins: the versions that the sandbox pins
    """
    where = {"cache": str(stores.cache), "eggs": str(stores.eggs)}
    write(directory / ".pylonyard" / CACHE, (json.dumps(where) + "\n").encode())
    place, state = _place(stores.cache, directory), _state(directory, pins)
    if _is_of(place, state):
        return True
    wanted = Needs(pins=frozenset((canonical(n), v) for n, v in pins.items()))
    found = needs(directory, stores) | wanted | Needs(pins=_listed_pins(directory))
    content = {"directory": str(directory), "state": state, **found.to_json()}
    try:
        write(place, (json.dumps(content, indent=1) + "\n").encode())
    except OSError:
        return False
    return True


def register(directory: Path, stores: Stores) -> None:
    """Record a sandbox that has not run buildout yet, such as a checkout that runs tests."""
    if not _place(stores.cache, directory).exists():
        record_needs(directory, stores, {})


def _state(directory: Path, pins: Mapping[str, str]) -> str:
    """Return a digest that changes when what a sandbox needs may have changed."""
    held = hashlib.sha256(repr(sorted(pins.items())).encode())
    releases = directory / "releases"
    folders = sorted(releases.iterdir()) if releases.is_dir() else []
    statuses = [(path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in folders]
    held.update(repr(statuses).encode())
    scripts = sorted(p for p in (directory / "bin").glob("*") if not p.is_symlink())
    for path in (directory / ".installed.cfg", *scripts):
        held.update(_text(path).encode())
    return held.hexdigest()


def _is_of(place: Path, state: str) -> bool:
    """Return whether a record was made of ``state``."""
    try:
        return bool(safe_files.json_object(_read(place))["state"] == state)
    except (OSError, PylonyardError, ValueError, KeyError):
        return False


def _place(cache: Path, directory: Path) -> Path:
    return cache / USERS / f"{safe_files.path_digest(directory)}.json"


def stores_of(directory: Path) -> Stores:
    """Return the cache and eggs of a sandbox, as in its last run."""
    try:
        where = safe_files.json_object((directory / ".pylonyard" / CACHE).read_bytes())
        return Stores(Path(where["cache"]), Path(where["eggs"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Stores(directory / "cache", directory / "cache" / "eggs")


def users(cache: Path) -> tuple[list[User], list[Path]]:
    """Return the users of ``cache``, and the records that cannot be read."""
    known, unknown = [], []
    folder = cache / USERS
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue  # A draft of a run at work, or killed.
        try:
            content = safe_files.json_object(_read(path))
            known.append(User(_directory(content), Needs.from_json(content)))
        except (OSError, PylonyardError, ValueError):
            unknown.append(path)
    return known, unknown


def _directory(content: Mapping[str, object]) -> Path:
    directory = content.get("directory")
    if not isinstance(directory, str) or not directory.startswith("/"):
        raise ValueError(f"directory: expected a path, got {directory!r}")
    return Path(directory)


def _read(path: Path) -> bytes:
    """Return the content of a regular file, which another account may have replaced."""
    with open(open_plainly(path, os.O_RDONLY, 0), "rb") as stream:
        if os.fstat(stream.fileno()).st_size > LARGEST:
            raise ValueError("expected a small file")
        return stream.read()


def recorded_pins(directory: Path, cache: Path) -> list[Pin]:
    """Return the recorded versions of a sandbox: canonical name, version."""
    return [
        pin for user in users(cache)[0] if user.directory == directory for pin in user.recorded.pins
    ]


def is_gone(user: User) -> bool:
    """Return whether a user's directory no longer exists; False if that is unknown."""
    try:
        user.directory.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def forget(cache: Path, user: User) -> None:
    """Remove the record of a user that is gone, also of another account if we may."""
    with contextlib.suppress(OSError):
        _place(cache, user.directory).unlink(missing_ok=True)


def needed_by(user: User, stores: Stores) -> Needs:
    """Return what a user needs now; if it cannot be read, also what was recorded."""
    try:
        return needs(user.directory, stores) | Needs(pins=user.recorded.pins)
    except (OSError, ValueError):
        return user.recorded


FOLDERS = ("bin", "parts", "releases")
"""Folders of a sandbox whose files may name entries of the cache."""


def needs(directory: Path, stores: Stores, folders: Iterable[str] = FOLDERS) -> Needs:
    """Return what the releases, the parts and the tools of a sandbox need.

    :param folders: those of them that matter
    :raises OSError: if something of it cannot be read
    """
    names = possible_names(_texts(directory, folders))
    # What a source tree was built with is needed when it changes.
    names |= possible_names(
        _text(path)
        for path in (stores.cache / "builds").glob("*.json")
        if path.stem.rpartition("-")[2] in names
    )
    pins: frozenset[Pin] = frozenset()
    for home in sorted(names):
        packages = list((stores.cache / "sandboxes" / home).glob("lib/python*/site-packages"))
        for folder in packages:
            names |= possible_names(_text(path) for path in folder.glob("*.pth"))
            pins |= _installed(folder)
        if packages and (stores.cache / "sandboxes" / home / "complete").exists():
            pins |= _virtualenv_pins()
    return Needs(names, pins | pins_of(names))


def _texts(directory: Path, folders: Iterable[str]) -> Iterator[str]:
    """Yield the contents of the files of a sandbox, and the targets of its links."""
    yield _text(directory / ".installed.cfg")
    for folder in folders:
        for path in files_below(directory / folder):
            yield os.readlink(path) if path.is_symlink() else _text(path)
        if (directory / folder).is_dir():
            os.listdir(directory / folder)  # os.walk ignores folders that it cannot read.


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _installed(packages: Path) -> frozenset[Pin]:
    """Return the distributions that pip installed in a folder."""
    found = (path.name.split("-")[:2] for path in packages.glob("*-*.dist-info"))
    return frozenset(
        (canonical(name), version.removesuffix(".dist-info")) for name, version in found
    )


def _virtualenv_pins() -> frozenset[Pin]:
    """Return the tools that make an environment of another interpreter."""
    from pylonyard.environments.tools import VIRTUALENV

    pairs = (text.split("==") for text in VIRTUALENV)
    return frozenset((canonical(name), version) for name, version in pairs)


def _listed_pins(directory: Path) -> frozenset[Pin]:
    """Return the pins in requirements files, ours and a sandbox's, for ``bootstrap.py``."""
    from pylonyard.environments.tools import TOOLS, requirements

    folders = {TOOLS.parent, directory / "profiles"}
    paths = [path for folder in folders for path in folder.glob("*.txt")]
    return frozenset((canonical(n), v) for path in paths for n, v, _ in requirements(path))
