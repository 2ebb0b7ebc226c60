"""What a site's account needs on the machine, and what root gives it.

A release can be made where the account is missing, or by who may give nothing away.
What is left to do then is planned here; what would take another's data away is refused.
"""

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pylonyard.activation.steps import MakeAccount, Own, Permit, SetUp, Step
from pylonyard.config.layout import PAGE
from pylonyard.releases.contents import Release, Site
from pylonyard.system import safe_files
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import SEARCH, WRITE, Account, Folder, bits_of

if TYPE_CHECKING:
    from pylonyard.activation.host.facts import World


def account_steps(release: Release, world: "World") -> Iterator[Step]:
    """Yield what gives each site's account its ground.

    :raises ActivationError: if that would need what nobody but a person may decide
    """
    missing = dict.fromkeys(
        site.user for site in release.sites if world.accounts[site.user].uid == PRESUMED
    )
    for user in missing:
        yield MakeAccount(user, has_group=user in world.groups)
    done: set[Path] = set()
    for site in release.sites:
        _expect_open(site, world)
        for path, mode in site.grounds:
            if path in world.grounds and path not in done:
                yield from _owned(site, path, mode, release, world)
                done.add(path)
    for path, (user, mode) in release.permitted.items():
        yield from _permitted(path, user, mode, world)
    for site in release.sites:
        if site.name in world.to_set_up:
            yield SetUp(site.name, site.user, release.folder)


PRESUMED = 0xFFFFFFFE
"""The number, until it is made, of an account that is missing; no account has it."""


def presumed(world: "World", release: Release) -> "World":
    """Return the world in which the accounts that are to be made, and their folders, are there."""
    accounts = dict(world.accounts)
    for site in release.sites:
        if accounts[site.user].uid < 0:
            one = Account(site.user, PRESUMED, PRESUMED, site.user, frozenset({PRESUMED}))
            accounts[site.user] = one
    folders = dict(world.folders)
    seen = replace(world, accounts=accounts)
    for site in release.sites:
        for path, mode in site.grounds:
            if path in world.grounds and _is_to_be_given(site, path, release, seen):
                owner = accounts[site.user]
                folders[path] = Folder(mode, owner.uid, owner.gid)
    return replace(seen, folders=folders)


def _expect_open(site: Site, world: "World") -> None:
    """Check that the account may enter the folders that it is served from."""
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
                f"to be opened for that; make a checkout below /srv: {PAGE}"
            )


def _owned(site: Site, path: Path, mode: int, release: Release, world: "World") -> Iterator[Step]:
    if _is_to_be_given(site, path, release, world):
        owner = world.accounts[site.user]
        yield Own(path, owner.name, owner.group, mode, make=world.grounds[path] is None)
    elif not _is_usable(site, path, release, world):
        raise ActivationError(
            f"{path}: expected a folder that {site.user}, who runs {site.name}, may write into, "
            f"got one of {_owner(path, world)} with something in it; if it is this site's: "
            f"chown -Rh {site.user}: {shlex.quote(str(path))}; if it is of another use of this "
            f"checkout, make one for production below /srv: {PAGE}"
        )


def _is_to_be_given(site: Site, path: Path, release: Release, world: "World") -> bool:
    """Tell whether a folder is missing, or an empty one of who made the release."""
    there = world.grounds[path]
    if there is None:
        return True
    maker = world.folders.get(site.live)
    is_makers = maker is not None and there.folder.uid in (0, maker.uid)
    return there.is_empty and is_makers and not _is_usable(site, path, release, world)


def _is_usable(site: Site, path: Path, release: Release, world: "World") -> bool:
    account, there = world.accounts[site.user], world.grounds[path]
    if there is None:
        return False
    if account.uid == PRESUMED:
        return bits_of(account, there.folder) & WRITE == WRITE
    # Of what several sites use, each may have its own files there, made beforehand.
    is_shared = path != site.data and there.folder.uid in {
        world.accounts[other.user].uid for other in release.sites
    }
    return (site.user, path) not in world.closed or is_shared


def _owner(path: Path, world: "World") -> str:
    there = world.grounds[path]
    return there.owner if there else "nobody"


def _permitted(path: Path, user: str, mode: int, world: "World") -> Iterator[Step]:
    """Yield how a file with secrets comes to be its account's to read."""
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
    if step.make and safe_files.make(step.path, step.mode, owner):
        return
    with safe_files.folder(step.path) as folder:
        if os.listdir(folder):
            raise ActivationError(f"{step.path}: expected an empty folder; run activate again")
        os.fchown(folder, *owner)


def _permit(step: Permit) -> None:
    gid = grp.getgrnam(step.group).gr_gid
    with safe_files.folder(step.path.parent) as folder:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(step.path.name, flags, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise ActivationError(f"{step.path}: expected a regular file of one name")
            os.fchown(descriptor, -1, gid)
            os.fchmod(descriptor, step.mode)
        finally:
            os.close(descriptor)
