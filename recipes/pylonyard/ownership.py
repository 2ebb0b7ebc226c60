"""Who owns what a run, or a site, has to write: told before anything is made.

A run is its checkout's owner's.  ``var/log``, ``var/run`` and ``var/data/<site>`` are
the site's account's; all else is whose the checkout is.
"""

import os
import shlex
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from pylonyard import accounts
from pylonyard.activation.access import WRITE
from pylonyard.activation.trust import PAGE
from pylonyard.activation.world import Account
from pylonyard.errors import UserError
from pylonyard.grounds import READ, Described, may, on_machine
from pylonyard.layout import Layout

OWN_CHECKOUT = f"use a checkout of its own below /srv: {PAGE}"


def written(var: Path, site: str) -> Mapping[Path, int]:
    """Return the folders that a site writes into, and the modes that they are made with."""
    return {var / "log": 0o755, var / "run": 0o755, var / "data" / site: 0o750}


def data_problem(site: Described, var: Path) -> str:
    """Return what is in ``var`` that the account of a site could not write; '' if nothing is."""
    places = list(_unwritten(on_machine(site.user), site.name, var))
    if not places:
        return ""
    found = f"{site.user} cannot write {_counted(places)}"
    giving = _giving(f"{site.user}:", places, shared=(var / "log", var / "run"))
    if accounts.is_ours(site.user):
        return f"{found}; what another account left there is had back with: {giving}"
    if accounts.entry(site.user) is None:
        return f"{found}, and is no account of this machine yet; {OWN_CHECKOUT}"
    return f"{found}; {OWN_CHECKOUT}, or, if it shall go on with these: {giving}"


def _unwritten(who: Account, name: str, var: Path) -> Iterator[Path]:
    folders = written(var, name)
    for folder in folders:
        if not folder.is_dir() or is_empty(folder):
            continue  # what is empty is given to it
        if not may(who, folder, READ | WRITE):
            yield folder
        else:
            yield from (p for p in _files(folder, name, var) if not may(who, p, READ | 0o2))


def _files(folder: Path, name: str, var: Path) -> Iterator[Path]:
    """Yield what a site has in a folder, links left out."""
    shared = folder != var / "data" / name
    names = (f"{name}.log", f"{name}-server.log", f"{name}.lock", f"{name}.wanted")
    for path in (folder / each for each in names) if shared else _entries(folder):
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            yield path


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if we may not look."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def is_empty(folder: Path) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:
        return False


def take_over(folder: Path, owner: tuple[int, int]) -> None:
    """Give an empty folder to an account.

    :raises OSError: if it is no folder
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != owner[0] and not os.listdir(descriptor):
            os.fchown(descriptor, *owner)
    finally:
        os.close(descriptor)


def expect_writable(layout: Layout) -> None:
    """Check that a run can change what it has to, in its own sandbox.

    :raises UserError: naming all that is another account's, and how to go on
    """
    if os.geteuid() == 0:
        return
    places = [place for place in _changed(layout) if _is_others(place)]
    if not places:
        return
    owner, us = layout.directory.stat().st_uid, accounts.called(os.geteuid())
    found = f"{us} cannot write {_counted(places)}"
    if owner == os.geteuid():
        # Groups stay: files with secrets have that of a site's account.
        giving = _giving(us, places, shared=(layout.var,))
        raise UserError(f"{found}; what another account's run left is had back with: {giving}")
    raise UserError(f"{found}; run this as the checkout's owner, {accounts.called(owner)}")


def _changed(layout: Layout) -> Iterator[Path]:
    base = layout.directory
    yield from (base, base / ".installed.cfg", base / ".pylonyard.lock")
    folders = [layout.parts, layout.bin, layout.releases, base / "develop-eggs"]
    folders += [base / ".pylonyard", layout.var, layout.var / "secrets", layout.var / "setup"]
    stores = (layout.cache, layout.eggs)
    for top in (*folders, *(store for store in stores if store.is_relative_to(base))):
        yield top
        inner = _folders(top) if top != layout.var else ()
        for folder in inner:
            yield folder
            if top == layout.eggs:
                yield from _folders(folder)


def _folders(top: Path) -> Iterable[Path]:
    try:
        with os.scandir(top) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:
        return ()


def _is_others(place: Path) -> bool:
    try:
        return place.lstat().st_uid != os.geteuid() and not os.access(place, os.W_OK)
    except OSError:
        return False


def _other_owner(directory: Path) -> str:
    """Return whose a checkout is in which we are root; '' if it is root's, or we are not."""
    owner = directory.stat().st_uid
    return accounts.called(owner) if owner and not os.geteuid() else ""


def root_warning(directory: Path) -> str:
    """Return what comes of a run of root's that may be in another's checkout; '' if nothing."""
    if not (name := _other_owner(directory)):
        return ""
    giving = shlex.join(["chown", "-Rh", "--from=root", name, str(directory)])
    return f"{directory} is {name}'s, who has back what root has made in it with: {giving}"


def root_problem(directory: Path) -> str:
    """Return why root should not make a release in a checkout; '' if it may."""
    if not (name := _other_owner(directory)):
        return ""
    return (
        f"{directory} is {name}'s, and what root makes in it, {name} could not change any more; "
        f"run this as {name}, without sudo: only bin/pylonyard activate needs root"
    )


def _counted(places: list[Path]) -> str:
    """Return what is another's in few words: the command beside it names all of it."""
    owners = " and ".join(sorted({accounts.called(place.lstat().st_uid) for place in places}))
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{places[0]}{more}, of {owners}"


def _giving(owner: str, places: list[Path], shared: Collection[Path]) -> str:
    """Return the command that gives places away.

    :param shared: folders that have what is others' in them, which stays theirs
    """
    alone = [place for place in places if place in shared]
    whole = [place for place in places if place not in shared]
    commands = [(f"chown -h {owner}", alone), (f"chown -Rh {owner}", whole)]
    return " && ".join(
        accounts.by_root(f"{command} {shlex.join(map(str, given))}")
        for command, given in commands
        if given
    )
