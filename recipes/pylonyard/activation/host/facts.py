"""What is on the machine before an activation: all that its plan depends on."""

import grp
import os
import pwd
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pylonyard.activation.host.conffiles import NEW, OLD, kept_as
from pylonyard.releases import site_servers
from pylonyard.releases.contents import Release, Site, databases, setup_record
from pylonyard.releases.site_servers import Servers
from pylonyard.system import listeners
from pylonyard.system.rootfs import Account, Entry, Folder, Tree, _machine_account, account
from pylonyard.system.subprocesses import PROGRAM_PATH, run

APACHE = "/etc/apache2"
RUN_LEVELS_STARTED = "2345"


@dataclass(frozen=True)
class Ground:
    """A folder that a site's account is to write into."""

    folder: Folder
    owner: str
    is_empty: bool


@dataclass(frozen=True, kw_only=True)
class World:
    """The state of the target; everything was read, nothing is asked later."""

    root: Path = Path("/")
    entries: Mapping[str, Entry] = field(default_factory=dict)
    laid: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file that an activation before this laid down."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Where a file of theirs goes if ours takes its place."""
    originals: Mapping[str, Entry] = field(default_factory=dict)
    """What was there before the first activation, where we changed it."""
    judges: frozenset[str] = frozenset({"sh", "logrotate"})
    """Programs that can check what is laid."""
    has_apache: bool = True
    runs_apache: bool = False
    available_modules: frozenset[str] = frozenset()
    enabled_modules: frozenset[str] = frozenset()
    available_sites: frozenset[str] = frozenset()
    enabled_sites: frozenset[str] = frozenset()
    registered: frozenset[str] = frozenset()
    """Sites whose init script is in the run levels, be it disabled."""
    running: frozenset[str] = frozenset()
    """Sites at whose own server's address somebody listens, whoever that is."""
    accounts: Mapping[str, Account] = field(default_factory=dict)
    apache_user: str = "www-data"
    folders: Mapping[Path, Folder] = field(default_factory=dict)
    written: Mapping[Path, Folder] = field(default_factory=dict)
    """What the applications of embedded sites write, by path on the machine."""

    groups: frozenset[str] = frozenset()
    """Groups of the names of the sites' accounts."""
    grounds: Mapping[Path, Ground | None] = field(default_factory=dict)
    """What the sites' accounts write into; None: it is missing. Of the machine alone."""
    closed: frozenset[tuple[str, Path]] = frozenset()
    """Which account may not enter which folder, or not write into which of the ``grounds``."""
    to_set_up: frozenset[str] = frozenset()
    """Sites whose application has not been set up in its database."""
    servers: Servers = field(default_factory=Servers)
    """What root can tell of the sites' own servers; of the machine alone."""

    def kept_as(self, name: str) -> str:
        return self.kept.get(name, name + OLD)


def look(
    tree: Tree,
    release: Release,
    laid: Mapping[str, str],
    originals: Mapping[str, Entry],
    *,
    runs_apache: bool,
) -> World:
    """Return the state of ``tree``, as far as activating ``release`` depends on it."""
    names = {source.name for source in release.files} | set(laid)
    user = apache_user(tree)
    return World(
        root=tree.root,
        entries={n: tree.read(n) for name in sorted(names) for n in (name, name + NEW)},
        laid=laid,
        kept={name: kept_as(name, tree.read(name), tree.read) for name in names},
        originals=originals,
        runs_apache=runs_apache,
        judges=frozenset(_judges(tree)),
        has_apache=tree.read(f"{APACHE}/apache2.conf").kind != "absent",
        available_modules=_stems(tree.names(f"{APACHE}/mods-available"), ".load"),
        enabled_modules=_stems(tree.names(f"{APACHE}/mods-enabled"), ".load"),
        available_sites=_stems(tree.names(f"{APACHE}/sites-available"), ".conf"),
        enabled_sites=_stems(tree.names(f"{APACHE}/sites-enabled"), ".conf"),
        registered=frozenset(registered(tree, "SK")),
        running=frozenset(s.name for s in release.sites if listeners.inodes(s.host, s.port)),
        accounts={name: account(tree, name) for name in {user, *(s.user for s in release.sites)}},
        apache_user=user,
        folders=dict(_folders(tree, release)),
        groups=frozenset(site.user for site in release.sites if _has_group(site.user)),
        grounds=dict(_grounds(release)) if tree.is_machine else {},
        closed=frozenset(_closed(release)) if tree.is_machine else frozenset(),
        to_set_up=frozenset(_to_set_up(release)) if tree.is_machine else frozenset(),
        servers=site_servers.look(release) if _is_roots(tree) else Servers(),
        written=dict(_written(tree, release)),
    )


def _is_roots(tree: Tree) -> bool:
    """Tell whether we are root on the machine itself, and so may see all that runs."""
    return tree.is_machine and os.geteuid() == 0


def _stems(names: Iterable[str], suffix: str) -> frozenset[str]:
    return frozenset(name[: -len(suffix)] for name in names if name.endswith(suffix))


def _judges(tree: Tree) -> Iterable[str]:
    yield "sh"
    # It refuses files that are not root's.
    if shutil.which("logrotate", path=PROGRAM_PATH) and (tree.is_machine or os.geteuid() == 0):
        yield "logrotate"


def registered(tree: Tree, links: str = "S") -> set[str]:
    """Return the scripts that some run level starts.

    :param links: ``SK`` for those that somebody has disabled there as well
    """
    levels = [f"/etc/rc{level}.d" for level in RUN_LEVELS_STARTED]
    return {name[3:] for level in levels for name in tree.names(level) if name[0] in links}


def with_needed(tree: Tree, modules: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``modules`` and those that ``a2enmod`` enables for them."""
    found = list(modules)
    for module in found:
        text = tree.read(f"{APACHE}/mods-available/{module}.load").content.decode(errors="replace")
        needed = re.search(r"(?m)^# Depends:\s+(.+)", text)
        found += [name for name in needed[1].split() if name not in found] if needed else []
    return tuple(found)


def apache_user(tree: Tree) -> str:
    """Return who Apache runs as: what ``envvars`` says."""
    text = tree.read(f"{APACHE}/envvars").content.decode(errors="replace")
    found = re.findall(r"(?m)^\s*(?:export\s+)?APACHE_RUN_USER=[\"']?([a-z_][a-z0-9_-]*)", text)
    return found[-1] if found else "www-data"


def _folders(tree: Tree, release: Release) -> Iterable[tuple[Path, Folder]]:
    for site in release.sites:
        for path in needed_folders(site):
            place = tree.path(str(path))
            try:
                status = place.stat()
            except OSError:
                continue
            yield path, Folder(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    for path in release.permitted if tree.is_machine else ():
        with suppress(OSError):
            status = path.lstat()
            yield path, Folder(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, False)


def _written(tree: Tree, release: Release) -> Iterable[tuple[Path, Folder]]:
    """Yield the log and the data of each embedded site; of links, nothing."""
    for site in release.sites:
        if site.mode != "embedded":
            continue
        log, data = tree.path(str(site.application_log)), tree.path(str(site.data))
        inner = (Path(top, n) for top, folders, files in os.walk(data) for n in folders + files)
        for place in [log, *sorted(inner)]:
            try:
                status = place.lstat()
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                mode, is_folder = stat.S_IMODE(status.st_mode), stat.S_ISDIR(status.st_mode)
                path = Path("/", place.relative_to(tree.root))
                yield path, Folder(mode, status.st_uid, status.st_gid, is_folder)


def needed_folders(site: Site) -> list[Path]:
    """Return each folder that Apache has to pass, and those to write into."""
    inner = [site.live, site.data, site.data / "egg-cache", site.log]
    return list(dict.fromkeys(p for path in inner for p in [*reversed(path.parents), path]))


def _grounds(release: Release) -> Iterable[tuple[Path, Ground | None]]:
    for site in release.sites:
        for path, _ in site.grounds:
            try:
                status = path.stat()
            except FileNotFoundError:
                yield path, None
                continue
            folder = Folder(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
            yield path, Ground(folder, _name(status.st_uid), _is_empty(path))


def _is_empty(path: Path) -> bool:
    try:
        return not os.listdir(path)
    except OSError:
        return False  # Who may not know it shall not have it given away.


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _has_group(name: str) -> bool:
    try:
        return bool(grp.getgrnam(name))
    except KeyError:
        return False


# Asked as the account: modes are not all that decides.
_MAY_NOT = """\
while [ $# -gt 0 ]; do
    { [ -x "$2" ] && { [ "$1" = x ] || [ -w "$2" ]; }; } || printf '%s\\0' "$2"
    shift 2
done
"""


def _closed(release: Release) -> Iterable[tuple[str, Path]]:
    """Yield each account with a folder that it has to use, and may not."""
    if os.geteuid() != 0:
        return
    for site in release.sites:
        if _machine_account(site.user).uid <= 0:
            continue
        words = []
        for path in [*reversed(site.live.parents), site.live]:
            words += ["x", str(path)]
        for path, _ in site.grounds:
            words += ["w", str(path)] if path.exists() else []
        told = run(["sh", "-c", _MAY_NOT, "sh", *words], "sh", account=site.user)
        yield from ((site.user, Path(path)) for path in told.split("\0") if path)


def _to_set_up(release: Release) -> Iterable[str]:
    for name, database in databases(release.folder).items():
        try:
            is_done = setup_record(release.folder.parent.parent, name, database).exists()
        except OSError:
            continue  # Root alone may know.
        if not is_done:
            yield name
