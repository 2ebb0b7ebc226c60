"""Make a plan from a release and the state of the machine, by pure functions."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pylonyard.activation import access
from pylonyard.activation.host.conffiles import NEW, Decision, decide
from pylonyard.activation.host.facts import World
from pylonyard.activation.steps import (
    Ask,
    Grant,
    Join,
    Keep,
    Lay,
    Reload,
    Restore,
    Serve,
    Share,
    Step,
    Test,
    Tool,
)
from pylonyard.config.layout import REAL_SERVER, page
from pylonyard.releases.contents import Release, Site, Source
from pylonyard.system import accounts
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import ABSENT
from pylonyard.watchers.registry import starter, watchers
from pylonyard.webservers.registry import PublicName, ServerState, WebServer, server, servers


@dataclass(frozen=True)
class Plan:
    """The steps of an activation in order, and notes for the operator."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def plan(
    release: Release,
    world: World,
    *,
    force_new: bool = False,
    claimed: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Return the steps after which the machine serves ``release``; none if it does already.

    :param force_new: whether ours replaces a file that somebody edited
    :param claimed: each file that another sandbox laid, with the sandbox
    :raises ActivationError: if it cannot
    """
    _expect_unclaimed(release, claimed)
    notes: list[str] = []
    grounded = []
    if world.writable_folders:
        world = access.with_missing_accounts(world, release)
        grounded = list(access.account_steps(release, world))
    first = [*_access_steps(release, world, notes), *_drop_steps(release, world, claimed, notes)]
    files = _file_steps(release, world, notes, force_new)
    late = [
        step for step in files if any(w.is_last and w.owns(step.watched[0]) for w in watchers())
    ]
    changes = [*first, *(step for step in files if step not in late)]
    changes += [*_enable_steps(release, world), *_register_steps(release, world)]
    starting = [*_start_steps(release, world), *late]
    changed = [one for one in servers() if any(_concerns(one, step, release) for step in changes)]
    last = [step for one in changed for step in _reload_steps(one, release, world, notes)]
    # What moves to another address is seen to come to no harm in a web server before it does.
    tests = [step for step in last if isinstance(step, Test)]
    changes += [*_check_steps(files, world), *tests]
    last = [step for step in last if step not in tests]
    notes += _mode_notes(release)
    return Plan((*grounded, *changes, *starting, *last), tuple(notes))


def _expect_unclaimed(release: Release, claimed: Mapping[str, str]) -> None:
    for source in release.files:
        is_shared = any(one.is_shared(source.name) for one in servers())
        if source.name in claimed and not is_shared:
            sandbox = claimed[source.name]
            end = accounts.as_root(f"{shlex.quote(f'{sandbox}/bin/pylonyard')} deactivate")
            raise ActivationError(
                f"{source.name}: the sandbox {sandbox} has installed it; rename this site, or, to "
                f"deactivate the other: {end}"
            )


def _mode_notes(release: Release) -> Iterator[str]:
    for site in release.sites:
        if not site.has_server:
            what = " and ".join(each.what for each in watchers() if each.is_of_server)
            yield f"{site.name}: {server(site.server).title} runs it, so its {what} are left out"


def _concerns(one: WebServer, step: Step, release: Release) -> bool:
    """Return whether a step changes what a web server reads, or what its account may do."""
    if isinstance(step, Join | Grant | Share):
        return any(s.server == one.name and not s.has_server for s in release.sites)
    return any(map(one.owns, step.watched))


def _installed(world: World) -> Iterator[tuple[WebServer, ServerState]]:
    """Yield the web servers that are installed."""
    for one in servers():
        if (seen := world.webservers.get(one.name)) and seen.is_installed:
            yield one, seen


def _access_steps(release: Release, world: World, notes: list[str]) -> Iterator[Step]:
    done: set[Step] = set()
    for site in release.sites:
        seen = world.webservers.get(site.server)
        if site.has_server or not seen or not seen.is_installed:
            continue
        owner = world.accounts[site.user]
        if owner.uid <= 0 or world.accounts[seen.user].uid < 0:
            missing = site.user if owner.uid <= 0 else seen.user
            raise ActivationError(
                f"{site.name}: expected an account of its own for mod_wsgi, got {missing!r}; "
                "set user in [site], and see that it exists"
            )
        for need in access.needs(site):
            for step in _grant_steps(need, site, world):
                if step not in done:
                    done.add(step)
                    yield step
            if world.folders.get(need.path) and not _can_be_met(need, site, world):
                notes.append(_no_access_note(need, release, seen.user))
        yield from _share_steps(site, world)


def _no_access_note(need: access.Need, release: Release, user: str) -> str:
    note = f"{need.path}: {user} may not use it"
    is_ours = need.path.is_relative_to(release.folder.parent.parent)
    is_ours = is_ours and not accounts.is_home(need.path)
    return f"{note}; {'chmod o+x it' if is_ours else f'serve from below /srv: {page(REAL_SERVER)}'}"


def _grant_steps(need: access.Need, site: Site, world: World) -> Iterator[Step]:
    if access.lacks_group(need, site, world):
        yield Join(world.webservers[site.server].user, world.accounts[site.user].group)
    if (mode := access.mode_for(need, site, world)) is not None:
        yield Grant(need.path, site.user, mode, make=need.path not in world.folders)


def _share_steps(site: Site, world: World) -> Iterator[Step]:
    found = access.shared_modes(site, world)
    for top in (site.application_log, site.data):
        modes = [(p, *two) for p, two in found.items() if p == top or p.is_relative_to(top)]
        if modes:
            yield Share(top, site.user, tuple(modes))


def _can_be_met(need: access.Need, site: Site, world: World) -> bool:
    folder, owner = world.folders[need.path], world.accounts[site.user]
    by_group = folder.gid == owner.gid and folder.mode >> 3 & need.bits == need.bits
    is_mended = access.mode_for(need, site, world) is not None
    return access.is_met(need, site, world) or by_group or is_mended


def _drop_steps(
    release: Release, world: World, claimed: Mapping[str, str], notes: list[str]
) -> Iterator[Step]:
    """Yield the steps that remove files of an earlier release which this one does not have."""
    wanted = {*claimed, *(source.name for source in release.files)}
    # What is not among the originals was never changed: somebody's own file.
    for name in sorted((set(world.laid) & set(world.originals)) - wanted, reverse=True):
        site, starts = Path(name).stem, starter().owns(name)
        if starts and world.entries[name] != ABSENT:
            yield Serve(site, "stop")
        elif starts:
            notes.append(
                f"{name}: removed here, so the server of {site} is left as it is; "
                f"bin/{site} of the release before can stop it"
            )
        for one, seen in world.webservers.items():
            is_ours = world.originals[name] == ABSENT
            yield from (
                Tool(*each) for each in server(one).drop_commands(name, seen, is_ours=is_ours)
            )
        if world.entries[name].digest != world.laid[name] and world.entries[name] != ABSENT:
            yield Keep(name, world.kept_as(name))
        yield Restore(name, world.originals[name])
        if starts:
            yield Tool(*starter().disable(site))


def _file_steps(release: Release, world: World, notes: list[str], force: bool) -> list[Step]:
    lacking = [one for one in servers() if one not in [there for there, _ in _installed(world)]]
    left_out = [one for one in lacking if any(one.owns(source.name) for source in release.files)]
    steps: list[Step] = []
    for source in sorted(release.files, key=_file_order):
        if not any(one.owns(source.name) for one in left_out):
            steps += _steps_of_file(source, world, notes, force)
    for one in left_out:
        how = f"apt-get install {one.package}"
        notes.append(f"{one.title} is not installed, so its part is left out; {how}")
    return steps


def _file_order(source: Source) -> int:
    """Return the place of a file in the order: web servers' files, then those of watchers."""
    places = (n for n, each in enumerate(watchers(), start=1) if each.owns(source.name))
    return next(places, 0)


def _steps_of_file(source: Source, world: World, notes: list[str], force: bool) -> Iterator[Step]:
    name, now = source.name, world.entries[source.name]
    is_optional = any(each.is_optional and each.owns(name) for each in watchers())
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


def _enable_steps(release: Release, world: World) -> Iterator[Step]:
    laid = [source.name for source in release.files]
    for one, seen in _installed(world):
        sites = [site for site in release.sites if site.mode and site.server == one.name]
        again = _disabled_before(one, seen, world)
        yield from (Tool(*each) for each in one.enable_commands(sites, seen, laid, again))


def _disabled_before(one: WebServer, seen: ServerState, world: World) -> Collection[str]:
    """Return the sites that an earlier release disabled, and that are still disabled."""
    links = (Path(name) for name, entry in world.originals.items() if entry.kind == "link")
    ours = {link.stem for link in links if str(link.parent) == one.enabled}
    return ours & seen.available_sites - seen.enabled_sites


def _register_steps(release: Release, world: World) -> Iterator[Step]:
    for source in release.files:
        name = Path(source.name).name
        if starter().owns(source.name) and name not in world.registered:
            yield Tool(*starter().enable(name))


def _check_steps(files: Iterable[Step], world: World) -> Iterator[Step]:
    """Yield a check of each installed file, by the program that reads it."""
    laid = [step.name for step in files if isinstance(step, Lay)]
    for name in laid:
        for each in watchers():
            if (
                each.owns(name)
                and each.installed_check
                and each.installed_check.words[0] in world.checkers
            ):
                yield Tool((*each.installed_check.words, name))


def _start_steps(release: Release, world: World) -> Iterator[Step]:
    """Yield the steps that start each site's own server; none for a scratch tree."""
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


def _public_names(one: WebServer, release: Release, world: World) -> Iterator[PublicName]:
    for site in release.sites:
        if not site.mode or site.server != one.name:
            continue
        before = world.entries.get(one.site_file(site.name), ABSENT).content
        is_enabled = site.name in world.webservers[one.name].enabled_sites
        is_new = not is_enabled or not one.serves_by(before, site.server_name)
        yield PublicName(site.name, site.server_name, is_new)


def _reload_steps(
    one: WebServer, release: Release, world: World, notes: list[str]
) -> Iterator[Step]:
    seen = world.webservers.get(one.name)
    if not seen or not seen.is_installed:
        return
    yield Test(one.name, tuple(_public_names(one, release, world)))
    if world.root != Path("/") and not seen.is_running:
        notes.append(f"the {one.title} of {world.root} does not run, so nothing is reloaded")
        return
    yield Reload(one.name, seen.is_running)
    for site in release.sites:
        if site.mode and site.server == one.name:
            yield from (Ask(site, port, is_secure) for port, is_secure in site.places)
