"""Find the sites' own servers, and those that the next release has no command for."""

import os
import pwd
import subprocess
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pylonyard.releases import contents
from pylonyard.releases.contents import Release, Servers, Site
from pylonyard.server import status
from pylonyard.server.settings import load
from pylonyard.server.status import LONGEST_COMMAND, RUNNING, UNKNOWN, SiteProcesses
from pylonyard.system import accounts, errors, listeners, processes, progress
from pylonyard.system.errors import ActivationError, CommandError, ServerError
from pylonyard.system.subprocesses import as_account
from pylonyard.webservers.registry import servers


def server_states(release: Release) -> Servers:
    """Return the states of the servers of the release's sites."""
    found = Servers()
    flipped = _became_current_at(release.folder.parent.parent / "current")
    for site in release.sites:
        if not site.has_server:
            continue
        sockets, seen = listeners.inodes(site.host, site.port), _seen(site)
        if sockets and not (seen and status.holds_any(seen, sockets)):
            found.taken[site.name] = _holder_text(listeners.holders(sockets))
        elif sockets and _started(listeners.holders(sockets)) < flipped:
            found.outdated.add(site.name)
        elif not sockets and seen and seen.all:
            found.moved.add(site.name)
    return found


def _seen(site: Site) -> SiteProcesses | None:
    """Return the processes of a site that run as its account; None if there is no account."""
    entry = accounts.entry(site.user)
    try:
        return entry and status.find_processes(load(site.live / "server.json"), entry.pw_uid)
    except ServerError:
        return None


def _holder_text(holders: list[int]) -> str:
    """Describe the process that has a port."""
    for pid in holders:
        owner, command = processes.owner(pid), processes.command(pid)
        whose = "" if owner is None else f" of {accounts.account_name(owner)}"
        return f"process {pid}{whose} ({processes.shortened(command, LONGEST_COMMAND)})"
    return "a process that we cannot see"


def _started(pids: Iterable[int]) -> float:
    times = (processes.started(pid) for pid in pids)
    return max((when for when in times if when is not None), default=0.0)


def _became_current_at(current: Path) -> float:
    """Return when the release became current."""
    try:
        return current.lstat().st_mtime
    except OSError:
        return 0.0


# Servers that the next release has no command for: nothing could stop them then.


def commands(before: Path, names: Collection[str]) -> Mapping[str, Site]:
    """Return the commands of servers that are not among ``names``, with their sites.

    :param before: the folder of a release; if it is damaged, none
    :param names: the commands of the release that comes after it
    """
    try:
        sites = contents.described_sites(before)
    except ActivationError:
        return {}
    controls = {site.name: site for site in sites if site.has_server}
    controls.update({name: site for site in sites for name in private_commands(site)})
    return {
        name: site
        for name, site in controls.items()
        if (before / "bin" / name).exists() and name not in names
    }


def private_commands(site: Site) -> list[str]:
    """Return the commands of a site's private web servers."""
    return [one.private_command(site.name) for one in servers() if one.private]


def runs(control: Path, site: Site) -> bool:
    """Return whether the server of a command runs.

    A server that we may not examine counts as running if something listens on its port.
    """
    if control.name == site.name and not _may_look(site):
        return bool(listeners.inodes(site.host, site.port))
    return run_command(control, "status", site.user)[0] in (RUNNING, UNKNOWN)


def _may_look(site: Site) -> bool:
    own = os.geteuid()
    with suppress(KeyError):
        return own in (0, pwd.getpwnam(site.user).pw_uid)
    return own == 0


def run_command(control: Path, action: str, user: str) -> tuple[int, str]:
    """Run a command as its site's account: root runs no file that the account can write.

    Return its exit status and its output.
    """
    try:
        finished = subprocess.run(
            [str(control), action],
            env={**os.environ, progress.CAPTURED: "1"},
            stdin=subprocess.DEVNULL,  # a terminal of root's, say, which the account could read
            capture_output=True,
            text=True,
            errors="replace",
            **as_account(user),
        )
    except (CommandError, OSError) as error:  # without the account, or the program
        return 1, f"{control} {action}: {errors.limit_reached(error) or error}"
    return finished.returncode, (finished.stdout + finished.stderr).strip()
