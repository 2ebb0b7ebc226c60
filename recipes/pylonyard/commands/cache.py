"""Run ``bin/pylonyard cache``: show a cache and its users, and remove unneeded files."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.environments import cache_usage
from pylonyard.environments.cache_usage import (
    KINDS,
    Entry,
    Needs,
    Stores,
    User,
    possible_names,
    unused,
)
from pylonyard.system import atomic, locks
from pylonyard.system.atomic import files_below
from pylonyard.system.errors import UserError
from pylonyard.webservers.registry import servers

Print = Callable[[str], object]

FORMAT = 1
"""The version of the JSON object."""

ROOT = Path("/")


@dataclass(frozen=True)
class Survey:
    """The contents of a cache, and its users."""

    stores: Stores
    entries: tuple[Entry, ...]
    users: tuple[User, ...]
    gone: tuple[User, ...]
    """Users whose folder is gone."""
    unknown: tuple[Path, ...]
    """Records without a readable user. While there is one, everything counts as needed."""
    unused: tuple[Entry, ...]


def show(directory: Path, tell: Print) -> None:
    """Print what the cache of a sandbox holds, and who uses it."""
    found = survey(cache_usage.stores_of(directory))
    tell(f"{found.stores.cache}")
    for kind, title in KINDS.items():
        tell(f"  {title:<20} {_summary(e for e in found.entries if e.kind == kind)}")
    if not _is_inside(found.stores):
        tell(f"  {found.stores.eggs} is also used by others; no egg in it is ever removed")
    tell("used by" if found.users or found.gone else "used by nobody")
    for user in found.users:
        tell(f"  {user.directory}")
    if found.gone:
        tell(f"  and {len(found.gone)} whose folder is gone, which no longer count")
    for path in found.unknown:
        tell(f"  {path}: cannot be read, so everything is kept")
    tell(f"not needed: {_summary(found.unused)}")


def as_object(directory: Path) -> dict[str, Any]:
    """Return the same as an object for JSON; sizes are in bytes."""
    found = survey(cache_usage.stores_of(directory))
    kinds = {kind: _sum(e for e in found.entries if e.kind == kind) for kind in KINDS}
    return {
        "version": FORMAT,
        "cache": str(found.stores.cache),
        "eggs": str(found.stores.eggs),
        "kinds": kinds,
        "users": [str(user.directory) for user in found.users],
        "gone": [str(user.directory) for user in found.gone],
        "unreadable": [str(path) for path in found.unknown],
        "not-needed": {
            **_sum(found.unused),
            "paths": [str(_place(found.stores, entry)) for entry in found.unused],
        },
    }


def _sum(entries: Iterable[Entry]) -> dict[str, int]:
    sizes = [entry.size for entry in entries]
    return {"entries": len(sizes), "bytes": sum(sizes)}


def clean(directory: Path, tell: Print, *, dry_run: bool) -> None:
    """Remove the files that no kept release of any sandbox needs.

    :param dry_run: only print what would be removed
    :raises UserError: if a run uses the cache, a record cannot be read, or the cache
        cannot be written
    """
    stores = cache_usage.stores_of(directory)
    with locks.lock_cache_alone(stores.cache) as is_alone:
        if not is_alone and not dry_run:
            raise UserError(
                f"{stores.cache}: expected a cache that no run uses and that you may write to, "
                "got one that is in use, or that you may not write to; try again when bin/buildout "
                "has ended"
            )
        found = survey(stores)
        if found.unknown:
            raise UserError(
                f"{found.unknown[0]}: expected the record of a sandbox, got something else; "
                "see what it is, and move it elsewhere if no sandbox uses the cache"
            )
        for entry in found.unused:
            tell(f"{'would remove' if dry_run else 'removing'} {_place(stores, entry)}")
            if not dry_run:
                _remove(_place(stores, entry))
        if not dry_run:
            _forget_gone_users(found)
        tell(f"{'to be removed' if dry_run else 'removed'}: {_summary(found.unused)}")


def survey(stores: Stores, now: float | None = None) -> Survey:
    """Return what is in a cache, who uses it, and what nobody needs.

    :param now: in seconds since 1970; default: the present time
    """
    entries = tuple(list_entries(stores))
    known, unknown = cache_usage.users(stores.cache)
    gone = tuple(user for user in known if cache_usage.is_gone(user))
    users = tuple(user for user in known if user not in gone)
    needs = Needs(names=possible_names(_module_load_files()))
    for user in users:
        needs |= cache_usage.needed_by(user, stores)
    free = [] if unknown else unused(entries, needs, time.time() if now is None else now)
    removable = (entry for entry in free if entry.kind != "eggs" or _is_inside(stores))
    return Survey(stores, entries, users, gone, tuple(unknown), tuple(removable))


def list_entries(stores: Stores) -> Iterator[Entry]:
    """Yield the entries of a cache."""
    for kind in KINDS:
        for path in _entries(stores, kind):
            status = path.lstat()
            changed = max(status.st_mtime, status.st_ctime)
            name = path.relative_to(_root(stores, kind)).as_posix()
            yield Entry(kind, name, size(path), changed)


def _root(stores: Stores, kind: str) -> Path:
    # The egg directories of other interpreters are beside this one's.
    return stores.eggs.parent if kind == "eggs" else stores.cache / kind


def _entries(stores: Stores, kind: str) -> list[Path]:
    root = _root(stores, kind)
    found = root.glob("*/*") if kind == "eggs" else root.glob("*")
    # Names with a leading dot are locks, or temporary folders of a run.
    return sorted(path for path in found if not path.name.startswith("."))


def _place(stores: Stores, entry: Entry) -> Path:
    return _root(stores, entry.kind) / entry.name


def _is_inside(stores: Stores) -> bool:
    """Return whether the egg directory is inside this cache."""
    return stores.cache in stores.eggs.parents


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(inner.lstat().st_size for inner in files_below(path))


def _module_load_files() -> Iterator[str]:
    """Yield the files that load modules: they may name one of a release that was removed."""
    for path in (path for one in servers() for path in one.loading_files(ROOT)):
        try:
            yield path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue


def _remove(path: Path) -> None:
    """Remove an entry. If we are killed it is whole, or a temporary folder for the next run."""
    try:
        doomed = Path(tempfile.mkdtemp(prefix=atomic.PREFIX, dir=path.parent))
        path.rename(doomed / path.name)
    except OSError as error:
        raise UserError(f"cannot remove {path}: {error.strerror}; run this as its owner") from error
    shutil.rmtree(doomed, ignore_errors=True)


def _forget_gone_users(found: Survey) -> None:
    for user in found.gone:
        cache_usage.forget(found.stores.cache, user)


def _summary(entries: Iterable[Entry]) -> str:
    found: Sequence[Entry] = list(entries)
    return f"{len(found):>5}  {sum(entry.size for entry in found) / 1e6:>8.1f} MB"
