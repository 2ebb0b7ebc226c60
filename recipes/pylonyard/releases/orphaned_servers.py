"""Servers that the next release has no command for: nothing could stop them then."""

import os
import pwd
import subprocess
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from pylonyard.releases import contents
from pylonyard.releases.contents import Site
from pylonyard.server.status import RUNNING, UNKNOWN
from pylonyard.system import errors, listeners
from pylonyard.system.errors import ActivationError, CommandError
from pylonyard.system.subprocesses import as_account


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
    controls.update({f"{site.name}-httpd": site for site in sites})
    return {
        name: site
        for name, site in controls.items()
        if (before / "bin" / name).exists() and name not in names
    }


def runs(control: Path, site: Site) -> bool:
    """Tell whether the server of a command runs.

    What an account may not look at counts as running if something listens on its port.
    """
    if control.name == site.name and not _may_look(site):
        return bool(listeners.inodes(site.host, site.port))
    return asked(control, "status", site)[0] in (RUNNING, UNKNOWN)


def _may_look(site: Site) -> bool:
    own = os.geteuid()
    with suppress(KeyError):
        return own in (0, pwd.getpwnam(site.user).pw_uid)
    return own == 0


def asked(control: Path, action: str, site: Site) -> tuple[int, str]:
    """Run a command as the site's account: root runs nothing of what that can write.

    Return its exit status, and what it said.
    """
    try:
        finished = subprocess.run(
            [str(control), action],
            stdin=subprocess.DEVNULL,  # a terminal of root's, say, which the account could read
            capture_output=True,
            text=True,
            errors="replace",
            **as_account(site.user),
        )
    except (CommandError, OSError) as error:  # without the account, or the program
        return 1, f"{control} {action}: {errors.limit_reached(error) or error}"
    return finished.returncode, (finished.stdout + finished.stderr).strip()
