"""Give accounts the access that they need: a site's own, and that of a web server.

A release can be made where a site's account is missing, or by an account that may not change
owners.  This module plans what is left to do then, and refuses to take another account's data away.
"""

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from pylonyard.activation.steps import (
    ACCOUNT_FILES,
    Effects,
    MakeAccount,
    Own,
    Permit,
    SetUp,
    Share,
    Step,
)
from pylonyard.config.layout import REAL_SERVER, page
from pylonyard.releases.contents import Release, Site
from pylonyard.system import atomic, safe_files
from pylonyard.system.accounts import MAKING, as_root
from pylonyard.system.errors import ActivationError, CommandError
from pylonyard.system.rootfs import SEARCH, WRITE, Account, Permissions, Tree, bits_of
from pylonyard.system.subprocesses import run

if TYPE_CHECKING:
    from pylonyard.activation.host.facts import World


def account_steps(release: Release, world: "World") -> Iterator[Step]:
    """Yield the steps that give each site's account its folders and files.

    :raises ActivationError: if only a person may decide that
    """
    missing = dict.fromkeys(
        site.user for site in release.sites if world.accounts[site.user].uid == PRESUMED
    )
    for user in missing:
        yield MakeAccount(user, has_group=user in world.groups)
    users: dict[Path, tuple[Site, int]] = {}
    for site in release.sites:
        _expect_reachable(site, world)
        for path, mode in site.writable_folders:
            if path in world.writable_folders:
                users.setdefault(path, (site, mode))  # of several sites, the first one decides
    to_give = {p for p, (site, _) in users.items() if _is_to_be_given(site, p, release, world)}
    _expect_usable({p: site for p, (site, _) in users.items() if p not in to_give}, release, world)
    for path, (site, mode) in users.items():
        if path in to_give:
            owner = world.accounts[site.user]
            yield Own(
                path, owner.name, owner.group, mode, make=world.writable_folders[path] is None
            )
    for path, (user, mode) in release.permitted.items():
        yield from _permit_steps(path, user, mode, world)
    for site in release.sites:
        if site.name in world.to_set_up:
            yield SetUp(site.name, site.user, release.folder)


PRESUMED = 0xFFFFFFFE
"""The number of a missing account until it is made; no account has it."""


def with_missing_accounts(world: "World", release: Release) -> "World":
    """Return the state of the machine as if the missing accounts and folders were made."""
    accounts = dict(world.accounts)
    for site in release.sites:
        if accounts[site.user].uid < 0:
            one = Account(site.user, PRESUMED, PRESUMED, site.user, frozenset({PRESUMED}))
            accounts[site.user] = one
    folders = dict(world.folders)
    seen = replace(world, accounts=accounts)
    for site in release.sites:
        for path, mode in site.writable_folders:
            if path in world.writable_folders and _is_to_be_given(site, path, release, seen):
                owner = accounts[site.user]
                folders[path] = Permissions(mode, owner.uid, owner.gid)
    return replace(seen, folders=folders)


def _expect_reachable(site: Site, world: "World") -> None:
    """Check that the account may enter the folders above its site."""
    account = world.accounts[site.user]
    for path in [*reversed(site.live.parents), site.live]:
        folder = world.folders.get(path)
        if account.uid == PRESUMED:
            is_closed = folder is not None and not bits_of(account, folder) & SEARCH
        else:
            is_closed = (site.user, path) in world.closed
        if is_closed:
            raise ActivationError(
                f"{path}: {site.user}, who runs {site.name}, may not enter it, and it is not "
                f"to be opened for that; make a checkout below /srv: {page(REAL_SERVER)}"
            )


def _expect_usable(used: Mapping[Path, Site], release: Release, world: "World") -> None:
    """Check that each account may write into its folders.

    :raises ActivationError: with one line of commands for all those that it may not
    """
    closed = {p: site for p, site in used.items() if not _is_usable(site, p, release, world)}
    if not closed:
        return
    path, site = next(iter(closed.items()))
    there = world.writable_folders[path]
    owner = there.owner if there else "nobody"
    users = dict.fromkeys(each.user for each in closed.values())
    given = {user: [str(p) for p, each in closed.items() if each.user == user] for user in users}
    making = [f"{MAKING} {user}" for user in users if world.accounts[user].uid == PRESUMED]
    giving = [shlex.join(["chown", "-Rh", f"{u}:", *paths]) for u, paths in given.items()]
    more = f" (and {len(closed) - 1} more)" if len(closed) > 1 else ""
    raise ActivationError(
        f"{path}{more}: expected a folder that {site.user}, who runs {site.name}, may write into, "
        f"got one of {owner} with something in it; if it is this site's: "
        f"{as_root(*making, *giving)}; if it is of another use of this checkout, make one for "
        f"production below /srv: {page(REAL_SERVER)}"
    )


def _is_to_be_given(site: Site, path: Path, release: Release, world: "World") -> bool:
    """Return whether a folder is missing, or is empty and belongs to the release's owner."""
    there = world.writable_folders[path]
    if there is None:
        return True
    maker = world.folders.get(site.live)
    is_makers = maker is not None and there.folder.uid in (0, maker.uid)
    return there.is_empty and is_makers and not _is_usable(site, path, release, world)


def _is_usable(site: Site, path: Path, release: Release, world: "World") -> bool:
    account, there = world.accounts[site.user], world.writable_folders[path]
    if there is None:
        return False
    if account.uid == PRESUMED:
        return bits_of(account, there.folder) & WRITE == WRITE
    # In a folder of several sites, each site may have files that were made before.
    is_shared = path != site.data and there.folder.uid in {
        world.accounts[other.user].uid for other in release.sites
    }
    return (site.user, path) not in world.closed or is_shared


def _permit_steps(path: Path, user: str, mode: int, world: "World") -> Iterator[Step]:
    """Yield the steps that let the account read a file with secrets."""
    account, now = world.accounts[user], world.folders.get(path)
    if now is None or account.uid in (0, now.uid):
        return
    if (now.gid, now.mode) != (account.gid, mode):
        yield Permit(path, account.group, mode)


# What root gives a site's account: empty folders to write into, files with secrets to read.
#
# Each is opened by itself, through no link that another account could have put there.


def settle_ownership(step: Own | Permit) -> None:
    """Take one of these steps.

    :raises ActivationError: if what is there has changed since it was planned
    :raises OSError: if it cannot be taken
    """
    if isinstance(step, Own):
        _own(step)
    else:
        _permit(step)


def _own(step: Own) -> None:
    account = pwd.getpwnam(step.user)
    owner = (account.pw_uid, account.pw_gid)
    if step.make and safe_files.make_folder(step.path, step.mode, owner):
        return
    with safe_files.folder(step.path) as folder:
        if os.listdir(folder):
            raise ActivationError(f"{step.path}: expected an empty folder; run activate again")
        os.fchown(folder, *owner)


def _permit(step: Permit) -> None:
    gid = grp.getgrnam(step.group).gr_gid
    with safe_files.folder(step.path.parent) as folder:
        descriptor = atomic.open_file(step.path.name, os.O_RDONLY, at=folder)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise ActivationError(f"{step.path}: expected a regular file of one name")
            os.fchown(descriptor, -1, gid)
            os.fchmod(descriptor, step.mode)
        finally:
            os.close(descriptor)


# The access that the account of a web server needs, and the access that it no longer needs.


@dataclass(frozen=True)
class Need:
    """An access, by ``bits``, that the account of the site's web server needs to ``path``."""

    path: Path
    bits: int


def needs(site: Site) -> Iterator[Need]:
    """Yield the access that a web server needs to run ``site`` itself, if it does.

    Daemon processes are the site's own account; only when the web server's processes
    run the application (``embedded``) do they write its data.
    """
    if site.has_server:
        return
    for folder in [*reversed(site.live.parents), site.live]:
        yield Need(folder, SEARCH)
    if site.mode == "embedded":
        for folder in (site.data, site.data / "egg-cache", site.log):
            for parent in reversed(folder.parents):
                yield Need(parent, SEARCH)
            yield Need(folder, WRITE)


def is_met(need: Need, site: Site, world: "World") -> bool:
    folder = world.folders.get(need.path)
    return folder is not None and need.bits & ~bits_of(_server_account(site, world), folder) == 0


def lacks_group(need: Need, site: Site, world: "World") -> bool:
    """Return whether the membership in the site's group is what ``need`` lacks."""
    folder, owner = world.folders.get(need.path), world.accounts[site.user]
    if is_met(need, site, world) or owner.gid in _server_account(site, world).groups:
        return False
    return folder is None or folder.gid == owner.gid


def mode_for(need: Need, site: Site, world: "World") -> int | None:
    """Return the mode that a folder of the site's account should get; None if it is right."""
    folder, owner = world.folders.get(need.path), world.accounts[site.user]
    if folder is None:
        # Made by us, for the account: new files keep the group of the folder.
        return 0o2770 if need.path.name == "egg-cache" else None
    if is_met(need, site, world) or folder.uid != owner.uid or folder.gid != owner.gid:
        return None
    wanted = folder.mode | need.bits << 3
    if need.bits == WRITE:
        wanted |= stat.S_ISGID
    return wanted if wanted != folder.mode else None


def shared_modes(site: Site, world: "World") -> dict[Path, tuple[int | None, int]]:
    """Return the present and the required modes of files that the web server has to write.

    Only what belongs to the site's account is shared.
    """
    if site.mode != "embedded":
        return {}
    found: dict[Path, tuple[int | None, int]] = {}
    if site.application_log not in world.written and site.log in world.folders:
        found[site.application_log] = (None, 0o660)
    owner = world.accounts[site.user]
    for path, now in world.written.items():
        is_below = path == site.application_log or path.is_relative_to(site.data)
        # Of a folder, new files keep the group.
        wanted = now.mode | (0o2070 if now.is_folder else 0o060)
        if is_below and (now.uid, now.gid) == (owner.uid, owner.gid) and wanted != now.mode:
            found[path] = (now.mode, wanted)
    return found


def _server_account(site: Site, world: "World") -> Account:
    return world.accounts[world.webservers[site.server].user]


# Access for an earlier release that the active one does not need.


def leftover_access(ours: Effects, sites: Collection[Site], members: Collection[object]) -> Effects:
    """Return the memberships and modes of ``ours`` that ``sites`` do not need.

    :param members: accounts with the groups that they are needed in
    """
    needed = {need.path for site in sites for need in needs(site)}
    shared = [site for site in sites if site.mode == "embedded"]
    unneeded = tuple(pair for pair in ours.members if pair not in members)
    # Unless the files of accounts have changed since, they are put back as they were.
    is_whole = unneeded and unneeded == ours.members
    return Effects(
        {n: c for n, c in ours.files.items() if n in ACCOUNT_FILES} if is_whole else {},
        members=unneeded,
        modes={
            name: modes
            for name, modes in ours.modes.items()
            if (path := Path(name)) not in needed and not any(_writes(s, path) for s in shared)
        },
    )


def _writes(site: Site, path: Path) -> bool:
    return path == site.application_log or path.is_relative_to(site.data)


def leftover_lines(left: Effects) -> Iterator[str]:
    """Yield the lines about leftover access."""
    for user, group in left.members:
        yield f"# {user}: no release needs it in the group {group} any more"
    # Of a folder and all that is in it, the folder says enough.
    for name in left.modes:
        if not any(str(parent) in left.modes for parent in Path(name).parents):
            yield f"# {name}: no release needs it open any more"


# The modes of files of a site's account are set, and restored, as that account.
#
# Root's own rights are not used: the account could have put a link there.


AT_ONCE = 500
"""Paths in one command."""


def share(tree: Tree, step: Share) -> None:
    """Set the modes of ``step``."""
    missing = [tree.path(str(path)) for path, before, _ in step.modes if before is None]
    if missing:
        run(["touch", *missing], "touch", account=step.user)
    for mode, paths in _settings((mode, tree.path(str(path))) for path, _, mode in step.modes):
        _set(mode, paths, step.user)


def undo_modes(tree: Tree, effects: Effects, leave: Callable[[str], None]) -> None:
    """Restore each mode that is still as we set it; remove empty folders that we made."""
    changes = reversed(list(effects.modes.items()))
    for user, group in groupby(changes, key=lambda change: change[1][0]):
        found = [(tree.path(path), before, after) for path, (_, before, after) in group]
        made = (path for path, before, _ in found if before is None)
        kept = ((b, path) for path, b, after in found if b is not None and _has(path, after))
        removals = (partial(run, command, command[0], account=user) for command in _removals(made))
        settings = (partial(_set, mode, paths, user) for mode, paths in _settings(kept))
        undoings: Iterator[Callable[[], object]] = chain(removals, settings)
        for undo in undoings:
            try:
                undo()
            except CommandError as error:
                # The account can prevent that, or be gone; the rest is done all the same.
                leave(str(error))


def _has(path: Path, mode: int) -> bool:
    try:
        return stat.S_IMODE(path.lstat().st_mode) == mode
    except OSError:
        return False


def _removals(paths: Iterable[Path]) -> Iterator[list[str]]:
    for path in paths:
        try:
            is_folder = stat.S_ISDIR(path.lstat().st_mode)
            is_empty = not os.listdir(path) if is_folder else path.lstat().st_size == 0
        except OSError:
            continue
        if is_empty:
            yield ["rmdir" if is_folder else "rm", str(path)]


def _settings(wanted: Iterable[tuple[int, Path]]) -> Iterator[tuple[int, list[Path]]]:
    for mode, group in groupby(sorted(wanted), key=lambda pair: pair[0]):
        paths = (path for _, path in group)
        while batch := list(islice(paths, AT_ONCE)):
            yield mode, batch


def _set(mode: int, paths: list[Path], account: str) -> None:
    """Set the modes of files that still exist: a running application removes some.

    :raises CommandError: if that of another cannot be set
    """
    there = paths
    while there:
        # With four digits it would leave the set-group-ID bit of a folder.
        command = ["chmod", f"{mode:05o}", *map(str, there)]
        try:
            run(command, "chmod", account=account)
            return
        except CommandError:
            before, there = there, [path for path in there if os.path.lexists(path)]
            if there == before:
                raise
