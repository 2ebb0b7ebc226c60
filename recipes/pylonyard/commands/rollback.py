"""Run ``bin/pylonyard rollback``: make an earlier release current, active and served."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pylonyard.activation.activate import Activation
from pylonyard.activation.apply import Say
from pylonyard.activation.host import trust
from pylonyard.releases import contents, servers
from pylonyard.releases.contents import Site
from pylonyard.releases.store import NoReleaseError, Releases, link_commands
from pylonyard.server.status import STOPPED
from pylonyard.system import accounts, locks
from pylonyard.system.active_note import Note, NotedSite, is_same_environment, noted_sites
from pylonyard.system.errors import ActivationError
from pylonyard.system.safe_files import read_plainly
from pylonyard.system.subprocesses import last_line
from pylonyard.webservers import registry
from pylonyard.webservers.registry import WebServer


def rollback(
    activation: Activation,
    bin_folder: Path,
    wanted: int | None,
    say: Say,
    *,
    may_change: bool = False,
) -> int:
    """Make ``wanted`` the current release, and restart the servers.

    The default is the last earlier release that was active in this environment.

    :param may_change: allow another environment, mode or account of a site
    :raises NoReleaseError: if there is no such release
    :raises ActivationError: if it is damaged, cannot be laid over ``/etc``, or a server cannot
        be restarted with it; everything is as it was before
    """
    releases = activation.releases
    locks.Locks().hold_sandbox(activation.sandbox)
    before = releases.current_number()
    identity = SandboxIdentity.of(activation)
    number = default_target(activation, identity) if wanted is None else wanted
    folders = [releases.existing(each) for each in (before or number, number)]
    if os.geteuid() == 0:
        _check_trust([activation.sandbox, releases.folder, bin_folder], folders)
    sites = _checked_release(folders[1], number).sites
    if wanted is not None:
        check_same_identity(activation, identity, number, may_change=may_change)
    # A scratch tree has no servers: running ones belong to the machine.
    offered = os.listdir(folders[1] / "bin")
    going = servers.commands(folders[0], offered) if activation.tree.is_machine else {}
    moved = _sites_with_new_address(folders, sites) if activation.tree.is_machine else []
    stopped: list[Path] = []
    restarted: list[Site] = []
    is_active = False
    try:
        _stop(bin_folder, going, stopped, say)
        _make_current(releases, bin_folder, number)
        if is_laid := _is_to_be_activated(activation, say):
            # A web server will connect to their new addresses from then on.
            for site in moved:
                restarted.append(site)
                _restart(bin_folder / site.name, site, say)
            activation.activate(say)
            is_active = True
        say(f"Release {number} is current{', and active' if is_laid else ''}.")
        if activation.tree.is_machine:
            _restart_others(bin_folder, folders, sites, restarted, say)
    except BaseException as error:
        if before is not None:
            _make_current(releases, bin_folder, before)
            if is_active:
                activation.activate(say)
            for control in stopped:
                _call_control(control, "start", going[control.name], say)
            for site in restarted:
                # The one that failed may have ended; if it goes on, it is left alone.
                has_failed = isinstance(error, _NotRestartedError) and site is restarted[-1]
                action = "start" if has_failed else "try-restart"
                _call_control(bin_folder / site.name, action, site, say)
            say(f"Release {before} is current{', and active' if is_active else ''}, as before.")
        raise
    return 0


def _make_current(releases: Releases, bin_folder: Path, number: int) -> None:
    releases.make_current(number)
    link_commands(bin_folder, releases.current)


def _check_trust(places: list[Path], releases: list[Path]) -> None:
    """Check that nobody else can choose where root writes, and what is run as which account."""
    for folder in releases:
        places += [folder, folder / "bin", *folder.glob("*/server.json")]
    trust.check(filter(os.path.exists, places), trust.trusted_accounts())


def _checked_release(folder: Path, number: int) -> contents.Release:
    """Return the target of the rollback, after checking it.

    :raises ActivationError: if it is damaged
    """
    try:
        found = contents.read(folder, number)
        contents.verify(folder)
        return found
    except ActivationError as error:
        why = str(error).partition("; ")[0]
        raise ActivationError(
            f"release {number} is damaged: {why}: run bin/buildout, or roll back to another"
        ) from error


def _stop(bin_folder: Path, going: Mapping[str, Site], stopped: list[Path], say: Say) -> None:
    """Stop servers for which the target has no command; add these commands to ``stopped``.

    :raises ActivationError: if one cannot be stopped
    """
    for name, site in going.items():
        control = bin_folder / name
        if not control.exists() or servers.run_command(control, "status", site.user)[0] == STOPPED:
            continue
        status, said = servers.run_command(control, "stop", site.user)
        if status != 0:
            raise ActivationError(
                f"{last_line(said)}; stop it first, since the release to return to has no {name}"
            )
        say(said)
        stopped.append(control)


def _sites_with_new_address(folders: list[Path], sites: Iterable[Site]) -> list[Site]:
    """Return the ``sites`` whose server had another address in the release before."""
    try:
        before = {site.name: site for site in contents.described_sites(folders[0])}
    except ActivationError:
        return []
    return [
        site
        for site in sites
        if site.has_server
        and (old := before.get(site.name))
        and (old.host, old.port) != (site.host, site.port)
    ]


def _is_to_be_activated(activation: Activation, say: Say) -> bool:
    """Return whether a release is active and we may activate the new one; else say what to do."""
    again = accounts.as_root("bin/pylonyard activate")
    try:
        active = activation.active_number()
    except PermissionError:
        say(f"If a release was active, make this one active: {again}")
        return False
    if active is None or activation.is_allowed:
        return active is not None
    say(f"Release {active} is still active; to activate this one: {again}")
    return False


class _NotRestartedError(ActivationError):
    """The server of the site that was to be restarted last could not be."""


def _restart(control: Path, site: Site, say: Say) -> None:
    """Restart the server of a site, if it runs.

    :raises _NotRestartedError: if that fails
    """
    status, said = servers.run_command(control, "try-restart", site.user)
    if status != 0:
        raise _NotRestartedError(last_line(said))
    say(said)


def _restart_others(
    bin_folder: Path,
    folders: list[Path],
    sites: Iterable[Site],
    restarted: list[Site],
    say: Say,
) -> None:
    """Restart the other servers that run; add their sites to ``restarted``.

    :raises ActivationError: if one cannot be restarted

    A private web server is reloaded only if its files have changed: on a reload it gives what
    runs in it little time, and a new release takes effect without one.
    """
    for site in sites:
        is_due = site.has_server and site not in restarted
        if is_due and (control := bin_folder / site.name).exists():
            restarted.append(site)
            _restart(control, site, say)
    for site in sites:
        for one in registry.servers():
            control = bin_folder / one.private_command(site.name)
            if one.private and control.exists() and _differs(one, folders, site):
                _call_control(control, "graceful", site, say)


def _call_control(control: Path, action: str, site: Site, say: Say) -> int:
    status, said = servers.run_command(control, action, site.user)
    if status == 0 or action != "graceful":
        say(said)
    return status


def _differs(one: WebServer, folders: list[Path], site: Site) -> bool:
    """Return whether two releases have a private web server read something else."""
    texts = [dict(_read_by(one, folder, site)) for folder in folders]
    return texts[0] != texts[1]


def _read_by(one: WebServer, folder: Path, site: Site) -> Iterator[tuple[Path, bytes]]:
    etc = (folder / "etc").rglob("*")
    names = [f"/{path.relative_to(folder)}" for path in etc if path.is_file()]
    read = [n[1:] for n in names if n == one.site_file(site.name) or one.is_shared(n)]
    for name in [*read, f"{site.name}/{one.private}.conf"]:
        if (path := folder / name).is_file():
            yield Path(name), read_plainly(path)


# The target has to have the environments, modes and accounts of the sandbox.


Sites = Mapping[str, NotedSite]

CHANGE_OPTION = "--change-environment"


@dataclass(frozen=True)
class SandboxIdentity:
    """The sites of the active release; if none is active, those of the current release."""

    release: int | None
    sites: Sites
    note: Note | None

    @classmethod
    def of(cls, activation: Activation) -> "SandboxIdentity":
        """Return the identity of a sandbox.

        :raises ActivationError: if the note of the active release cannot be trusted
        """
        note = activation.note()
        if note is not None and note.release is not None:
            return cls(note.release, note.sites, note)
        current = activation.releases.current_number()
        return cls(current, {} if current is None else _sites(activation, current), None)


def default_target(activation: Activation, identity: SandboxIdentity) -> int:
    """Return the release that was active before the current one, in this environment.

    What a rollback has left behind is passed over, as it was left for a reason.

    If nothing was ever active, or it was not recorded, return the last one made for it.

    :raises NoReleaseError: if there is none
    """
    releases, note = activation.releases, identity.note
    current = releases.linked_number()
    before = [n for n in releases.numbers() if current is None or n < current]
    if not before:
        raise NoReleaseError("there is no earlier release to return to")
    here = _environments(identity.sites)
    way = note.way_back(here) if note else []
    if was_active := [number for number in way if number in before]:
        return was_active[-1]
    made = [n for n in before if is_same_environment(_environments(_sites(activation, n)), here)]
    if not made:
        raise NoReleaseError(
            f"there is no earlier release for {_environment_names(identity.sites)} to return to"
        )
    if note is not None and note.is_whole:
        raise NoReleaseError(
            f"no earlier release was active for {_environment_names(identity.sites)} since the "
            f"first activation; to go to one that was not: bin/pylonyard rollback {made[-1]}"
        )
    return made[-1]


def check_same_identity(
    activation: Activation, identity: SandboxIdentity, number: int, *, may_change: bool = False
) -> None:
    """Check that each site keeps its environment, mode and account in a release.

    :param may_change: allow a change; except the account of an active site
    :raises ActivationError: naming both, and how to change it on purpose
    """
    target = _sites(activation, number)
    for name in sorted(target.keys() & identity.sites.keys()):
        here, there = identity.sites[name], target[name]
        command = f"bin/pylonyard rollback {number} {CHANGE_OPTION}"
        is_kept = identity.note is not None and here.is_of_another(there)
        first = accounts.as_root("bin/pylonyard deactivate")
        way = f", first: {first}" if is_kept else f": {command}"
        if is_kept or (here.differs_from(there) and not may_change):
            raise ActivationError(
                f"{name} is {here} (release {identity.release}), and release {number} has it as "
                f"{there}; to change that on purpose{way}"
            )


def _sites(activation: Activation, number: int) -> Sites:
    try:
        return noted_sites(contents.described_sites(activation.releases.path(number)))
    except ActivationError:
        return {}


def _environments(sites: Sites) -> Mapping[str, str]:
    return {name: site.environment for name, site in sites.items()}


def _environment_names(sites: Sites) -> str:
    environments = dict.fromkeys(site.environment for site in sites.values())
    return ", ".join(filter(None, environments)) or "this environment"
