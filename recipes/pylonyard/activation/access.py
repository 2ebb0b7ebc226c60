"""What Apache's account must be allowed, so that mod_wsgi can serve a site."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pylonyard.activation.sources import Site
from pylonyard.activation.world import Account, Folder, World

SEARCH, WRITE = 0o1, 0o3
"""Bits of one class: to pass through a folder; to make files in it."""


@dataclass(frozen=True)
class Need:
    """``path`` must be open, by ``bits``, for Apache's account."""

    path: Path
    bits: int


def needs(site: Site) -> Iterator[Need]:
    """Yield what mod_wsgi needs to serve ``site``; nothing in other modes.

    The daemon processes are the site's own account; only when Apache's processes
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


def bits_of(who: Account, folder: Folder) -> int:
    """Return what ``who`` may do: bits 4 (read), 2 (write), 1 (search)."""
    if who.uid == 0:
        return 0o7
    if who.uid == folder.uid:
        return folder.mode >> 6 & 0o7
    return (folder.mode >> 3 if folder.gid in who.groups else folder.mode) & 0o7


def is_met(need: Need, world: World) -> bool:
    folder = world.folders.get(need.path)
    return folder is not None and need.bits & ~bits_of(_apache(world), folder) == 0


def wants_group(need: Need, site: Site, world: World) -> bool:
    """Tell whether the membership in the site's group is what ``need`` lacks."""
    folder, owner = world.folders.get(need.path), world.accounts[site.user]
    if is_met(need, world) or owner.gid in _apache(world).groups:
        return False
    return folder is None or folder.gid == owner.gid


def mode_for(need: Need, site: Site, world: World) -> int | None:
    """Return the mode that a folder of the site's account should get; None for no other."""
    folder, owner = world.folders.get(need.path), world.accounts[site.user]
    if folder is None:
        # Made by us, for the account: new files keep the group of the folder.
        return 0o2770 if need.path.name == "egg-cache" else None
    if is_met(need, world) or folder.uid != owner.uid or folder.gid != owner.gid:
        return None
    wanted = folder.mode | need.bits << 3
    if need.bits == WRITE:
        wanted |= stat.S_ISGID
    return wanted if wanted != folder.mode else None


def to_share(site: Site, world: World) -> dict[Path, tuple[int | None, int]]:
    """Return the modes, now and as they should be, of what Apache's account has to write.

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


def _apache(world: World) -> Account:
    return world.accounts[world.apache_user]
