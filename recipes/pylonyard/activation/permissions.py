"""What the account of a web server must be allowed, and what it no longer needs."""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from pylonyard.activation.steps import ACCOUNT_FILES, Effects, Share
from pylonyard.releases.contents import Site
from pylonyard.system.errors import CommandError
from pylonyard.system.rootfs import SEARCH, WRITE, Account, Tree, bits_of
from pylonyard.system.subprocesses import run

if TYPE_CHECKING:
    from pylonyard.activation.host.facts import World


@dataclass(frozen=True)
class Need:
    """``path`` must be open, by ``bits``, for the account of the site's web server."""

    path: Path
    bits: int


def needs(site: Site) -> Iterator[Need]:
    """Yield what a web server needs that runs ``site`` itself; nothing if it does not.

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
    return folder is not None and need.bits & ~bits_of(_runner(site, world), folder) == 0


def wants_group(need: Need, site: Site, world: "World") -> bool:
    """Tell whether the membership in the site's group is what ``need`` lacks."""
    folder, owner = world.folders.get(need.path), world.accounts[site.user]
    if is_met(need, site, world) or owner.gid in _runner(site, world).groups:
        return False
    return folder is None or folder.gid == owner.gid


def mode_for(need: Need, site: Site, world: "World") -> int | None:
    """Return the mode that a folder of the site's account should get; None for no other."""
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


def to_share(site: Site, world: "World") -> dict[Path, tuple[int | None, int]]:
    """Return the modes, now and as they should be, of what the web server's account has to write.

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


def _runner(site: Site, world: "World") -> Account:
    return world.accounts[world.webservers[site.server].user]


# What an earlier release needed open, and the one that is active now does not.


def left_over(ours: Effects, sites: Collection[Site], members: Collection[object]) -> Effects:
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


def left_over_told(left: Effects) -> Iterator[str]:
    """Yield the lines that tell of it."""
    for user, group in left.members:
        yield f"# {user}: no release needs it in the group {group} any more"
    # Of a folder and all that is in it, the folder says enough.
    for name in left.modes:
        if not any(str(parent) in left.modes for parent in Path(name).parents):
            yield f"# {name}: no release needs it open any more"


# Modes of what a site's account has, set and set back as that account.
#
# Root's own rights are not used: the account could have put a link there.


AT_ONCE = 500
"""Paths in one command."""


def share(tree: Tree, step: Share) -> None:
    """Set the modes that ``step`` says."""
    missing = [tree.path(str(path)) for path, before, _ in step.modes if before is None]
    if missing:
        run(["touch", *missing], "touch", account=step.user)
    for mode, paths in _settings((mode, tree.path(str(path))) for path, _, mode in step.modes):
        _set(mode, paths, step.user)


def undo_modes(tree: Tree, effects: Effects, leave: Callable[[str], None]) -> None:
    """Set each mode back that is still as we left it; remove what we made, if it is empty."""
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
                # The account can hinder that, or be gone, and shall not hinder the rest.
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
    """Set the mode of what is still there: an application at work removes files.

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
