"""From a release and the state of the machine to a plan; pure."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pylonyard.activation import permissions, site_account
from pylonyard.activation.host.conffiles import NEW, Decision, decide
from pylonyard.activation.host.facts import APACHE, World
from pylonyard.activation.steps import (
    Ask,
    Grant,
    Join,
    Keep,
    Lay,
    Name,
    Reload,
    Restore,
    Serve,
    Share,
    Step,
    Test,
    Tool,
)
from pylonyard.config.layout import PAGE
from pylonyard.releases.contents import Release, Site, Source
from pylonyard.system import accounts
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import ABSENT

RUN_LEVELS = tuple(f"/etc/rc{level}.d" for level in "0123456S")
# Where Debian records who enabled what. Beside these, its modules have folders of their own.
MODULES = (f"{APACHE}/mods-enabled", "/var/lib/apache2/module")
SITES = (f"{APACHE}/sites-enabled", "/var/lib/apache2/site")

# As they are laid: what Apache reads, then what starts servers.
_ORDER = ("apache2", "init.d", "logrotate.d", "cron.d")


@dataclass(frozen=True)
class Plan:
    """What will be done, in order, and what a person should know beforehand."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def plan(
    release: Release,
    world: World,
    *,
    force_new: bool = False,
    claimed: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Return how the machine comes to serve ``release``; no step if it does.

    :param force_new: whether ours replaces a file that somebody edited
    :param claimed: each file that another sandbox laid, with the sandbox
    :raises ActivationError: if it cannot
    """
    _expect_unclaimed(release, claimed)
    notes: list[str] = []
    grounded = []
    if world.grounds:
        world = site_account.presumed(world, release)
        grounded = list(site_account.account_steps(release, world))
    first = [*_access(release, world, notes), *_dropped(release, world, claimed, notes)]
    files = _files(release, world, notes, force_new)
    cron = [step for step in files if "/cron.d/" in step.watched[0]]
    changes = [*first, *(step for step in files if step not in cron)]
    changes += [*_enabled(release, world), *_registered(release, world)]
    starting = [*_started(release, world), *cron]
    last = list(_taken_up(release, world, notes)) if any(map(_is_apache, changes)) else []
    # What moves to another address is seen to come to no harm in Apache before it does.
    tests = [step for step in last if isinstance(step, Test)]
    changes += [*_judged(files, world), *tests]
    last = [step for step in last if step not in tests]
    notes += _modes(release)
    return Plan((*grounded, *changes, *starting, *last), tuple(notes))


def _expect_unclaimed(release: Release, claimed: Mapping[str, str]) -> None:
    for source in release.files:
        # What loads a module is not a site's, and one serves all.
        if source.name in claimed and not source.name.startswith(f"{APACHE}/mods-available/"):
            sandbox = claimed[source.name]
            end = accounts.by_root(f"{shlex.quote(f'{sandbox}/bin/pylonyard')} deactivate")
            raise ActivationError(
                f"{source.name}: the sandbox {sandbox} has laid it; rename this site, or, to "
                f"end that one: {end}"
            )


def _modes(release: Release) -> Iterator[str]:
    for site in release.sites:
        if not site.has_server:
            yield f"{site.name}: Apache runs it, so its init script and cron entry are left out"


def _is_apache(step: Step) -> bool:
    return isinstance(step, Join | Grant | Share) or any(APACHE in name for name in step.watched)


def _access(release: Release, world: World, notes: list[str]) -> Iterator[Step]:
    done: set[Step] = set()
    for site in release.sites:
        owner, apache = world.accounts[site.user], world.accounts[world.apache_user]
        if site.has_server or not world.has_apache:
            continue
        if owner.uid <= 0 or apache.uid < 0:
            missing = site.user if owner.uid <= 0 else world.apache_user
            raise ActivationError(
                f"{site.name}: expected an account of its own for mod_wsgi, got {missing!r}; "
                "set user in [site], and see that it exists"
            )
        for need in permissions.needs(site):
            for step in _granted(need, site, world):
                if step not in done:
                    done.add(step)
                    yield step
            if world.folders.get(need.path) and not _can_be_met(need, site, world):
                notes.append(_hindered(need, release, world))
        yield from _shared(site, world)


def _hindered(need: permissions.Need, release: Release, world: World) -> str:
    told = f"{need.path}: {world.apache_user} may not use it"
    is_ours = need.path.is_relative_to(release.folder.parent.parent)
    is_ours = is_ours and not accounts.is_home(need.path)
    return f"{told}; {'chmod o+x it' if is_ours else f'serve from below /srv: {PAGE}'}"


def _granted(need: permissions.Need, site: Site, world: World) -> Iterator[Step]:
    if permissions.wants_group(need, site, world):
        yield Join(world.apache_user, world.accounts[site.user].group)
    if (mode := permissions.mode_for(need, site, world)) is not None:
        yield Grant(need.path, site.user, mode, make=need.path not in world.folders)


def _shared(site: Site, world: World) -> Iterator[Step]:
    found = permissions.to_share(site, world)
    for top in (site.application_log, site.data):
        modes = [(p, *two) for p, two in found.items() if p == top or p.is_relative_to(top)]
        if modes:
            yield Share(top, site.user, tuple(modes))


def _can_be_met(need: permissions.Need, site: Site, world: World) -> bool:
    folder, owner = world.folders[need.path], world.accounts[site.user]
    by_group = folder.gid == owner.gid and folder.mode >> 3 & need.bits == need.bits
    is_mended = permissions.mode_for(need, site, world) is not None
    return permissions.is_met(need, world) or by_group or is_mended


def _dropped(
    release: Release, world: World, claimed: Mapping[str, str], notes: list[str]
) -> Iterator[Step]:
    """Yield how to take away what an earlier release laid and this one has not."""
    wanted = {*claimed, *(source.name for source in release.files)}
    # What is not among the originals was never changed: somebody's own file.
    for name in sorted((set(world.laid) & set(world.originals)) - wanted, reverse=True):
        site, kind = Path(name).stem, Path(name).parts[2]
        is_module = name == f"{APACHE}/mods-available/{site}.load"
        if is_module and site in world.enabled_modules and world.originals[name] == ABSENT:
            yield Tool(("a2dismod", site), MODULES)
        if kind == "init.d" and world.entries[name] != ABSENT:
            yield Serve(site, "stop")
        elif kind == "init.d":
            notes.append(
                f"{name}: removed here, so the server of {site} is left as it is; "
                f"bin/{site} of the release before can stop it"
            )
        if kind == "apache2" and site in world.enabled_sites:
            yield Tool(("a2dissite", site), SITES)
        if world.entries[name].digest != world.laid[name] and world.entries[name] != ABSENT:
            yield Keep(name, world.kept_as(name))
        yield Restore(name, world.originals[name])
        if kind == "init.d":
            yield Tool(("update-rc.d", "-f", site, "remove"), RUN_LEVELS)


def _files(release: Release, world: World, notes: list[str], force: bool) -> list[Step]:
    steps: list[Step] = []
    for source in sorted(release.files, key=lambda s: _ORDER.index(Path(s.name).parts[2])):
        if world.has_apache or not source.name.startswith(APACHE):
            steps += _file(source, world, notes, force)
    if not world.has_apache and any(s.name.startswith(APACHE) for s in release.files):
        notes.append("Apache is not installed, so its part is left out; apt-get install apache2")
    return steps


def _file(source: Source, world: World, notes: list[str], force: bool) -> Iterator[Step]:
    name, now = source.name, world.entries[source.name]
    is_optional = name.startswith(("/etc/cron.d/", "/etc/logrotate.d/"))
    found = decide(now, world.laid.get(name), source.entry, may_be_gone=is_optional and not force)
    lay = Lay(name, source.entry, source.path)
    if found in (Decision.KEEP, Decision.CONFLICT) and force:
        notes.append(f"{name}: edited here; yours is kept as {world.kept_as(name)}")
        yield from (Keep(name, world.kept_as(name)), lay)
    elif found is Decision.CONFLICT:
        notes.append(
            f"{name}: edited here, and left so; ours is {name}{NEW} (--force-new takes it)"
        )
        if world.entries[name + NEW] != source.entry:
            yield Lay(name + NEW, source.entry, source.path)
    elif found is Decision.KEEP:
        notes.append(f"{name}: edited here, and left so (--force-new replaces it)")
    elif found is Decision.GONE:
        notes.append(f"{name}: removed here, and left so (--force-new puts it back)")
    elif found is Decision.INSTALL:
        yield lay


def _enabled(release: Release, world: World) -> Iterator[Step]:
    sites = [site for site in release.sites if site.mode]
    if not world.has_apache:
        return
    modules = list(dict.fromkeys(name for site in sites for name in site.modules))
    laid = {Path(source.name).stem for source in release.files if "/mods-" in source.name}
    if absent := [m for m in modules if m not in world.available_modules | laid]:
        raise ActivationError(
            f"Apache's module {absent[0]}: expected {APACHE}/mods-available/{absent[0]}.load, "
            "which is missing; install the package that has it"
        )
    if missing := [name for name in modules if name not in world.enabled_modules]:
        yield Tool(("a2enmod", *missing), MODULES)
    disabled = list(dict.fromkeys(name for site in sites for name in site.disable_sites))
    for name in disabled:
        if name in world.enabled_sites:
            yield Tool(("a2dissite", name), SITES)
    for name in sorted(_disabled_before(world) - set(disabled)):
        yield Tool(("a2ensite", name), SITES)
    for site in sites:
        if site.name not in world.enabled_sites:
            yield Tool(("a2ensite", site.name), SITES)


def _disabled_before(world: World) -> set[str]:
    """Return the sites that an earlier release had disabled, and that are so still."""
    links = (Path(name) for name, entry in world.originals.items() if entry.kind == "link")
    ours = {link.stem for link in links if str(link.parent) == f"{APACHE}/sites-enabled"}
    return ours & world.available_sites - world.enabled_sites


def _registered(release: Release, world: World) -> Iterator[Step]:
    for source in release.files:
        name = Path(source.name).name
        if source.name.startswith("/etc/init.d/") and name not in world.registered:
            yield Tool(("update-rc.d", name, "defaults"), RUN_LEVELS)


_JUDGES = {
    "/etc/init.d/": ("sh", "-n"),
    "/etc/logrotate.d/": ("logrotate", "--debug", "--state", "/dev/null"),
}


def _judged(files: list[Step], world: World) -> Iterator[Step]:
    """Yield a check, by the program that reads it, of each file that is laid."""
    laid = [step.name for step in files if isinstance(step, Lay)]
    for name in laid:
        for folder, words in _JUDGES.items():
            if name.startswith(folder) and words[0] in world.judges:
                yield Tool((*words, name))


def _started(release: Release, world: World) -> Iterator[Step]:
    """Yield the start of each site's own server; never from a scratch tree."""
    for site in release.sites:
        if not site.has_server or world.root != Path("/"):
            continue
        if site.name in world.servers.taken:
            raise ActivationError(
                f"{site.name}: port {site.port} is taken by {world.servers.taken[site.name]}: "
                "set another port in [site] and run bin/buildout, or end that if it is yours"
            )
        if site.name in world.servers.moved:
            yield Serve(site.name, "restart")
        elif site.name not in world.running:
            yield Serve(site.name, "start")
        elif site.name in world.servers.outdated:
            yield Serve(site.name, "try-restart")


def _names(release: Release, world: World) -> Iterator[Name]:
    for site in release.sites:
        vhost = world.entries.get(f"{APACHE}/sites-available/{site.name}.conf", ABSENT)
        was_there = re.search(
            rf"^\s*ServerName\s+{re.escape(site.server_name)}\s*$".encode(), vhost.content, re.M
        )
        if site.mode:
            is_new = site.name not in world.enabled_sites or was_there is None
            yield Name(site.name, site.server_name, is_new)


def _taken_up(release: Release, world: World, notes: list[str]) -> Iterator[Step]:
    if not world.has_apache:
        return
    yield Test(tuple(_names(release, world)))
    if world.root != Path("/") and not world.runs_apache:
        notes.append(f"the Apache of {world.root} does not run, so nothing is reloaded")
        return
    yield Reload(world.runs_apache)
    for site in release.sites:
        if site.mode:
            yield from (Ask(site, port, is_secure) for port, is_secure in site.places)
