"""Refuse a run that would change the environment, mode or account of an active site.

What counts of a site is its environment, its mode and its account.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pylonyard.config import configuration
from pylonyard.config.secret_names import masked
from pylonyard.releases import contents, servers
from pylonyard.releases.store import Releases
from pylonyard.system import accounts, active_note
from pylonyard.system.active_note import NotedSite
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import Tree

MACHINE = Tree(Path("/"))


ALLOWED = "change=allow"
"""The option of the section of a release that allows a change."""

DEACTIVATE = "bin/pylonyard deactivate"


@dataclass(frozen=True)
class DeployedSites:
    """The environment, mode and account of the sites of a release."""

    release: int
    configuration: str
    sites: Mapping[str, NotedSite]

    def __str__(self) -> str:
        made_from = f" of {self.configuration}" if self.configuration else ""
        return f"release {self.release}{made_from}"


def changes(deployed: DeployedSites, wanted: Mapping[str, NotedSite]) -> Iterator[tuple[str, str]]:
    """Yield the sites that a run would change, and how.

    One that goes while others stay is meant; if none stays, it is another configuration.
    """
    for name, was in deployed.sites.items():
        if name in wanted and was.differs_from(wanted[name]):
            yield name, f"make it {wanted[name]}"
        elif deployed.sites.keys().isdisjoint(wanted):
            yield name, "leave it out"


def expect_no_change(
    releases: Releases,
    bin_folder: Path,
    wanted: Mapping[str, NotedSite],
    words: Sequence[str],
    section: str,
) -> list[str]:
    """Check that a run changes no site that is active or runs.

    Return the lines about other sites, which may change.

    :param wanted: what the sites of the run are
    :param words: the command line of the run, for the advice
    :param section: the name of the section of the release
    :raises ActivationError: in one line, naming what is, what it would become, and the way
    """
    deployed = active(releases, releases.current.parent)
    if deployed and (found := dict(changes(deployed, wanted))):
        way = f"if it is meant: {allowing_command(words, section)}"
        if new_accounts(deployed, wanted):
            way = _way_to_another_account()
        if deployed.configuration and deployed.configuration != configuration.named(words):
            way = f"go on with bin/buildout -c {deployed.configuration}, or, {way}"
        raise ActivationError(refusal(deployed, found, "is active", way))
    number = releases.current_number()
    here = None if number is None else current(releases, number)
    if here is None or not (found := dict(changes(here, wanted))):
        return []
    if up := sorted(running(releases, here.release, bin_folder, set(found))):
        stops = " && ".join(f"bin/{name} stop" for name in up)
        raise ActivationError(refusal(here, found, "runs", f"stop it first: {stops}"))
    return [_change_line(name, here.sites[name], wanted.get(name)) for name in found]


def allowing_command(words: Sequence[str], section: str) -> str:
    """Return the command line of a run, with its assignments, that allows it to change sites."""
    named = configuration.named(words)
    assigned = [word for word in words if "=" in word and word[:1] != "-" and word != named]
    kept = [masked(word) for word in assigned if not word.startswith(f"{section}:change=")]
    source = ["-c", named] if named else []
    return shlex.join(["bin/buildout", *source, *kept, f"{section}:{ALLOWED}"])


def new_accounts(deployed: DeployedSites, wanted: Mapping[str, NotedSite]) -> dict[str, str]:
    """Return the sites that would get another account, and which.

    This is refused even with ``change = allow``: the running server would go on writing the old
    account's data.
    """
    return {
        name: f"make it {wanted[name]}"
        for name, was in deployed.sites.items()
        if name in wanted and was.is_of_another(wanted[name])
    }


def expect_account_kept(releases: Releases, wanted: Mapping[str, NotedSite]) -> None:
    """Check that no active site gets another account.

    :raises ActivationError: in one line, naming both, and the way
    """
    deployed = active(releases, releases.current.parent)
    if deployed and (found := new_accounts(deployed, wanted)):
        raise ActivationError(refusal(deployed, found, "is active", _way_to_another_account()))


def _way_to_another_account() -> str:
    return f"if it is meant, first: {accounts.as_root(DEACTIVATE)}"


def _change_line(name: str, was: NotedSite, becomes: NotedSite | None) -> str:
    """Return the line about a change that is allowed, since the site is not served."""
    if becomes is None:
        kept = f"its data and secrets stay in var/data/{name} and var/secrets/{name}"
        return f"{name} ({was}) is not in this release any more; {kept}"
    return f"{name} is {becomes} in this release; it was {was}"


def refusal(deployed: DeployedSites, found: Mapping[str, str], how: str, way: str) -> str:
    """Return the refusal of a run, about the first site that it would change."""
    name, what = next(iter(found.items()))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    was = f"{name} {how} as {deployed.sites[name]} ({deployed})"
    return f"{was}, and this run would {what}{more}; {way}"


def active(releases: Releases, sandbox: Path) -> DeployedSites | None:
    """Return the active sites of a sandbox; None if nothing is active.

    :raises ActivationError: if that is unknown, or is about to change
    """
    noted = active_note.read(MACHINE, sandbox)
    if noted is None:
        return _active_unnoted(releases, sandbox)
    if noted.is_unfinished:
        raise ActivationError(
            "an activation is running or was interrupted; first: "
            + accounts.as_root("bin/pylonyard activate")
        )
    if noted.release is None:
        return None
    return DeployedSites(noted.release, noted.configuration, noted.sites)


def _active_unnoted(releases: Releases, sandbox: Path) -> DeployedSites | None:
    """Return the sites that an older Pylonyard activated, whose journal only root may read."""
    try:
        number = active_note.journalled(MACHINE, sandbox)
    except PermissionError:
        number = releases.current_number()
    return None if number is None else current(releases, number)


def current(releases: Releases, number: int) -> DeployedSites | None:
    """Return the sites of a release; None if they cannot be read."""
    try:
        made = contents.described(releases.path(number), number)
    except ActivationError:
        return None
    return DeployedSites(number, made.configuration, active_note.noted_sites(made.sites))


def running(releases: Releases, number: int, bin_folder: Path, names: set[str]) -> set[str]:
    """Return the commands of running servers, for the sites ``names`` of the current release."""
    sites = contents.described_sites(releases.path(number))
    return {
        control.name
        for site in sites
        if site.name in names
        for command in (site.name, *servers.private_commands(site))
        for control in [bin_folder / command]
        if control.exists() and servers.runs(control, site)
    }
