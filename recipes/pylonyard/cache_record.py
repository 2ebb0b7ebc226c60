"""Who uses a cache: each sandbox records itself there, at the end of each run."""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pylonyard.cache_use import Needs, Pin, canonical, named, pins_of
from pylonyard.writing import files_below, write

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


def keep(directory: Path, stores: Stores, pins: Mapping[str, str]) -> bool:
    """Record in the cache what a sandbox needs; return whether that could be done.

    :param pins: the versions that the sandbox pins
    """
    where = {"cache": str(stores.cache), "eggs": str(stores.eggs)}
    write(directory / ".pylonyard" / CACHE, (json.dumps(where) + "\n").encode())
    place, state = _place(stores.cache, directory), _state(directory, pins)
    if _is_of(place, state):
        return True
    wanted = Needs(pins=frozenset((canonical(n), v) for n, v in pins.items()))
    found = needs(directory, stores) | wanted | Needs(pins=_listed(directory))
    content = {"directory": str(directory), "state": state, **found.to_json()}
    try:
        write(place, (json.dumps(content, indent=1) + "\n").encode())
    except OSError:
        return False
    return True


def introduce(directory: Path, stores: Stores) -> None:
    """Record a sandbox that has not run buildout yet, such as a checkout that runs tests."""
    if not _place(stores.cache, directory).exists():
        keep(directory, stores, {})


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
    """Tell whether a record was made of ``state``."""
    try:
        return bool(json.loads(_read(place))["state"] == state)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _place(cache: Path, directory: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:20]
    return cache / USERS / f"{digest}.json"


def stores_of(directory: Path) -> Stores:
    """Return the stores of a sandbox, as its last run had them."""
    try:
        where = json.loads((directory / ".pylonyard" / CACHE).read_text(encoding="utf-8"))
        return Stores(Path(where["cache"]), Path(where["eggs"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Stores(directory / "cache", directory / "cache" / "eggs")


def users(cache: Path) -> tuple[list[User], list[Path]]:
    """Return who uses ``cache``, and the records that do not tell."""
    known, unknown = [], []
    folder = cache / USERS
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue  # A draft of a run at work, or killed.
        try:
            content = json.loads(_read(path))
            known.append(User(_directory(content), Needs.from_json(content)))
        except (OSError, ValueError):
            unknown.append(path)
    return known, unknown


def _directory(content: object) -> Path:
    directory = content.get("directory") if isinstance(content, dict) else None
    if not isinstance(directory, str) or not directory.startswith("/"):
        raise ValueError(f"directory: expected a path, got {directory!r}")
    return Path(directory)


def _read(path: Path) -> str:
    """Return the text of a regular file, which others may have put there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise ValueError("expected a small file")
        return stream.read()


def recorded_pins(directory: Path, cache: Path) -> list[Pin]:
    """Return the versions that a sandbox was recorded to need: canonical name, version."""
    return [
        pin for user in users(cache)[0] if user.directory == directory for pin in user.recorded.pins
    ]


def is_gone(user: User) -> bool:
    """Tell whether a user's directory is there no more; no if that cannot be seen."""
    try:
        user.directory.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def forget(cache: Path, user: User) -> None:
    """Remove the record of a user that is gone; of another account's, if we may."""
    with contextlib.suppress(OSError):
        _place(cache, user.directory).unlink(missing_ok=True)


def needed_by(user: User, stores: Stores) -> Needs:
    """Return what a user needs now; what was recorded as well, if it cannot be read."""
    try:
        return needs(user.directory, stores) | Needs(pins=user.recorded.pins)
    except (OSError, ValueError):
        return user.recorded


FOLDERS = ("bin", "parts", "releases")
"""Where the files of a sandbox are that may need something of the cache."""


def needs(directory: Path, stores: Stores, folders: Iterable[str] = FOLDERS) -> Needs:
    """Return what the releases, the parts and the tools of a sandbox need.

    :param folders: those of them that matter
    :raises OSError: if something of it cannot be read
    """
    names = named(_texts(directory, folders))
    pins: frozenset[Pin] = frozenset()
    for home in sorted(names):
        packages = list((stores.cache / "sandboxes" / home).glob("lib/python*/site-packages"))
        for folder in packages:
            names |= named(_text(path) for path in folder.glob("*.pth"))
            pins |= _installed(folder)
        if packages and (stores.cache / "sandboxes" / home / "complete").exists():
            pins |= _makers()
    return Needs(names, pins | pins_of(names))


def _texts(directory: Path, folders: Iterable[str]) -> Iterator[str]:
    """Yield what the files of a sandbox say, and where its links lead."""
    yield _text(directory / ".installed.cfg")
    for folder in folders:
        for path in files_below(directory / folder):
            yield os.readlink(path) if path.is_symlink() else _text(path)
        if (directory / folder).is_dir():
            os.listdir(directory / folder)  # os.walk says nothing of what it cannot read.


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _installed(packages: Path) -> frozenset[Pin]:
    """Return what pip installed into a folder."""
    found = (path.name.split("-")[:2] for path in packages.glob("*-*.dist-info"))
    return frozenset(
        (canonical(name), version.removesuffix(".dist-info")) for name, version in found
    )


def _makers() -> frozenset[Pin]:
    """Return the tools that make a sandbox of another interpreter."""
    from pylonyard.virtualenvs import VIRTUALENV

    pairs = (text.split("==") for text in VIRTUALENV)
    return frozenset((canonical(name), version) for name, version in pairs)


def _listed(directory: Path) -> frozenset[Pin]:
    """Return what the requirements files of a checkout pin, for ``bootstrap.py``."""
    from pylonyard.toolbox import requirements

    paths: Iterable[Path] = (directory / "profiles").glob("*.txt")
    return frozenset((canonical(n), v) for path in paths for n, v, _ in requirements(path))
