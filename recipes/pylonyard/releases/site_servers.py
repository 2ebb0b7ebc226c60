"""The sites' own servers, as root finds them: at the release's address, elsewhere, or neither."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pylonyard.releases.contents import Release, Site
from pylonyard.server import status
from pylonyard.server.settings import load
from pylonyard.server.status import LONGEST_COMMAND, SiteProcesses
from pylonyard.system import accounts, listeners, processes
from pylonyard.system.errors import ServerError


@dataclass
class Servers:
    """Which sites have their own server in which state, by name."""

    outdated: set[str] = field(default_factory=set)
    """It was started before the release became current."""
    moved: set[str] = field(default_factory=set)
    """It runs, but listens where an earlier release had it do so."""
    taken: dict[str, str] = field(default_factory=dict)
    """Somebody else has its address, and who."""


def look(release: Release) -> Servers:
    """Return what the servers of the release's sites do."""
    found = Servers()
    flipped = _flipped(release.folder.parent.parent / "current")
    for site in release.sites:
        if not site.has_server:
            continue
        sockets, seen = listeners.inodes(site.host, site.port), _seen(site)
        if sockets and not (seen and status.holds_any(seen, sockets)):
            found.taken[site.name] = _told(listeners.holders(sockets))
        elif sockets and _started(listeners.holders(sockets)) < flipped:
            found.outdated.add(site.name)
        elif not sockets and seen and seen.all:
            found.moved.add(site.name)
    return found


def _seen(site: Site) -> SiteProcesses | None:
    """Return the processes of a site that are its account's; None if none can be."""
    entry = accounts.entry(site.user)
    try:
        return entry and status.find_processes(load(site.live / "server.json"), entry.pw_uid)
    except ServerError:
        return None


def _told(holders: list[int]) -> str:
    """Return who has a port, as text."""
    for pid in holders:
        owner, command = processes.owner(pid), processes.command(pid)
        whose = "" if owner is None else f" of {accounts.called(owner)}"
        return f"process {pid}{whose} ({processes.shown(command, LONGEST_COMMAND)})"
    return "a process that is not to be seen"


def _started(pids: Iterable[int]) -> float:
    times = (processes.started(pid) for pid in pids)
    return max((when for when in times if when is not None), default=0.0)


def _flipped(current: Path) -> float:
    """Return when the release became current."""
    try:
        return current.lstat().st_mtime
    except OSError:
        return 0.0
