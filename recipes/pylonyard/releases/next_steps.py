"""Find the next command after a run, for each site in its present state.

The state is read each time, also by a run that has nothing else to do.
Standard library only, and imported as it is needed: a run with nothing to do is short.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pylonyard.system import accounts

if TYPE_CHECKING:
    from pylonyard.webservers.registry import WebServer

LONGEST_COMMAND = 200
"""Characters of another program's command line that are shown."""

# What is seen of the server that a line would start.
DOWN, THIS, EARLIER, FOREGROUND, TAKEN, UNSEEN = range(6)


class SiteStart(NamedTuple):
    """How a site will be served, as a run has found out."""

    name: str
    user: str
    environment: str
    address: str
    host: str
    port: int
    webserver: str
    """The web server that runs the application; empty if the site has its own server."""
    waits: bool
    """True if an activation has to come first."""


def lines(
    site: SiteStart, seen: int, active: int | None, current: int, *, is_ours: bool, who: str = ""
) -> Iterator[str]:
    """Yield the next steps for a site.

    :param seen: what is at its port, one of the constants above
    :param active: which release is active, if one is
    :param is_ours: whether we may start it
    :param who: who else has its port
    """
    is_for_visitors = site.environment != "development"
    is_outdated = active not in (None, current)
    if is_outdated or (active is None and (is_for_visitors or site.waits)):
        yield step_line(accounts.as_root("bin/pylonyard activate"), "has this machine serve it")
    # An activation starts the site's own server, or restarts it, by itself.
    if site.waits or is_outdated or (site.webserver and active is not None):
        return
    command = f"bin/{_private(site).private_command(site.name) if site.webserver else site.name}"
    command = command if is_ours else accounts.as_root(command)
    if seen == THIS:
        yield step_line(f"{command} status", f"it is served already at {site.address}")
    elif seen == FOREGROUND:
        yield step_line(f"bin/{site.name} fg", f"stop it and start it again, at {site.address}")
    elif seen == TAKEN:
        how = "set another port in [site], or end that if it is yours"
        yield f"  {site.name}: port {site.port} is taken by {who}: {how}"
    else:
        action = {DOWN: "start", EARLIER: "graceful" if site.webserver else "restart"}
        yield step_line(f"{command} {action.get(seen, 'restart')}", f"serves it at {site.address}")


def _private(site: SiteStart) -> "WebServer":
    from pylonyard.webservers import registry

    return registry.server(site.webserver)


def step_line(command: str, what: str) -> str:
    return f"  {command}   {what}"


def port_state(directory: Path, site: SiteStart) -> tuple[int, str]:
    """Return the state of a site's port, and the process that has it if it is not ours."""
    listed = list(_listed(site.port))
    if not listed and not _has_any(directory, site):
        return DOWN, ""
    from pylonyard.server import status
    from pylonyard.server.settings import load
    from pylonyard.system import listeners
    from pylonyard.system.errors import ServerError

    source = directory / "current" / site.name / "server.json"
    try:
        settings = load(source)
        if site.webserver and _has_private(directory, site):
            return EARLIER, ""
        if not site.webserver and not accounts.can_act_as(site.user):
            return UNSEEN, ""
        sockets = listeners.at(listeners.parsed(listed), site.host, site.port)
        if site.webserver:
            return _stranger(sockets) if sockets else (DOWN, "")
        account = accounts.entry(site.user)
        seen = status.find_processes(settings, account.pw_uid if account else None)
    except (OSError, ServerError):
        return UNSEEN, ""
    if seen.foreground:
        return FOREGROUND, ""
    if sockets and not status.holds_any(seen, sockets):
        return _stranger(sockets)
    if not seen.all:
        return DOWN, ""
    flipped = os.lstat(directory / "current").st_mtime
    return (THIS if seen.started_at and seen.started_at > flipped else EARLIER), ""


def _listed(port: int) -> Iterator[str]:
    """Yield the kernel's lines for all sockets that listen on a port.

    Addresses are not compared here: that needs imports, and a run with nothing to do is short.
    """
    wanted = f":{port:04X}"
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                own, _, state = line.split()[1:4]
                if own.endswith(wanted) and state == "0A":
                    yield line


def _has_any(directory: Path, site: SiteStart) -> bool:
    """Return whether a server of the site may run, perhaps at an earlier port.

    This is a quick guess: a run with nothing to do is short.
    """
    if site.webserver:
        return _has_private(directory, site)
    known = os.fsencode(f"={os.path.realpath(directory)}:{site.name}\0")
    return any(known in environment for environment in _each("environ"))


def _each(name: str) -> Iterator[bytes]:
    """Yield a file in /proc of each process, if we may read it."""
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit():
                yield Path("/proc", entry, name).read_bytes()


def _has_private(directory: Path, site: SiteStart) -> bool:
    """Return whether the site's private web server runs."""
    config = os.fsencode(directory / "current" / site.name / f"{_private(site).private}.conf")
    return any(config in words.split(b"\0") for words in _each("cmdline"))


def _stranger(sockets: set[int]) -> tuple[int, str]:
    from pylonyard.system import listeners
    from pylonyard.system.processes import command, shortened

    for pid in listeners.holders(sockets):
        return TAKEN, f"process {pid} ({shortened(command(pid), LONGEST_COMMAND)})"
    return TAKEN, "a process of another account"


def next_lines(directory: Path, current: int, sites: Iterable[SiteStart]) -> Sequence[str]:
    """Return the next steps for the ``sites`` of the current release.

    :param current: the number of that release
    """
    active = active_release(directory)
    made: dict[str, None] = {}
    for site in sites:
        seen, who = port_state(directory, site)
        is_ours = accounts.can_act_as(site.user)
        made |= dict.fromkeys(lines(site, seen, active, current, is_ours=is_ours, who=who))
    return list(made)


def active_release(directory: Path) -> int | None:
    """Return the active release, from files that everybody may read."""
    if not os.path.exists(accounts.ROOTS_FOLDER):
        return None
    from pylonyard.system import active_note

    return active_note.active_release(directory)
