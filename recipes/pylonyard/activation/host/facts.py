"""Read the state of the machine before an activation: all inputs of its plan."""

import grp
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pylonyard.activation.host.conffiles import NEW, OLD, kept_as
from pylonyard.releases.contents import Release, Servers, Site, databases, setup_record
from pylonyard.system import accounts, listeners
from pylonyard.system.rootfs import Account, Entry, Permissions, Tree, _machine_account, account
from pylonyard.system.subprocesses import PROGRAM_PATH, run
from pylonyard.watchers.registry import starter, watchers
from pylonyard.webservers.registry import ServerState


@dataclass(frozen=True)
class WritableFolder:
    """A folder that a site's account has to write to."""

    folder: Permissions
    owner: str
    is_empty: bool


def _all_checkers() -> frozenset[str]:
    return frozenset(each.installed_check.words[0] for each in watchers() if each.installed_check)


@dataclass(frozen=True, kw_only=True)
class World:
    """The state of the machine, read completely before the plan is made."""

    root: Path = Path("/")
    entries: Mapping[str, Entry] = field(default_factory=dict)
    laid: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file that an earlier activation installed."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """The path to keep an edited file at if ours replaces it."""
    originals: Mapping[str, Entry] = field(default_factory=dict)
    """The state before the first activation of the paths that we changed."""
    checkers: frozenset[str] = field(default_factory=_all_checkers)
    """Installed programs that check files."""
    webservers: Mapping[str, ServerState] = field(default_factory=dict)
    """The state of each web server."""
    registered: frozenset[str] = frozenset()
    """Sites whose server the machine starts, or would start if nobody had disabled that."""
    running: frozenset[str] = frozenset()
    """Sites with a process that listens at their own server's address."""
    accounts: Mapping[str, Account] = field(default_factory=dict)
    folders: Mapping[Path, Permissions] = field(default_factory=dict)
    written: Mapping[Path, Permissions] = field(default_factory=dict)
    """Files that the applications of embedded sites write, by path on the machine."""

    groups: frozenset[str] = frozenset()
    """Existing groups with the names of the sites' accounts."""
    writable_folders: Mapping[Path, WritableFolder | None] = field(default_factory=dict)
    """Folders that the sites' accounts write to; None if missing. On the machine itself only."""
    closed: frozenset[tuple[str, Path]] = frozenset()
    """Accounts with the folders that they cannot enter, or cannot write to."""
    to_set_up: frozenset[str] = frozenset()
    """Sites whose application was not set up in its database yet."""
    servers: Servers = field(default_factory=Servers)
    """The states of the sites' own servers, as root sees them; on the machine itself only."""

    def kept_as(self, name: str) -> str:
        return self.kept.get(name, name + OLD)


def read_machine(
    tree: Tree,
    release: Release,
    laid: Mapping[str, str],
    originals: Mapping[str, Entry],
    *,
    webservers: Mapping[str, ServerState],
    servers: Servers | None = None,
) -> World:
    """Return the state of ``tree``, as far as activating ``release`` depends on it.

    :param webservers: what there is of each web server
    :param servers: what the sites' own servers do, as far as that is known
    """
    names = {source.name for source in release.files} | set(laid)
    users = {*(seen.user for seen in webservers.values()), *(s.user for s in release.sites)}
    return World(
        root=tree.root,
        entries={n: tree.read(n) for name in sorted(names) for n in (name, name + NEW)},
        laid=laid,
        kept={name: kept_as(name, tree.read(name), tree.read) for name in names},
        originals=originals,
        webservers=webservers,
        checkers=frozenset(_checkers(tree)),
        registered=frozenset(starter().registered(tree)),
        running=frozenset(s.name for s in release.sites if listeners.inodes(s.host, s.port)),
        accounts={name: account(tree, name) for name in users},
        folders=dict(_folders(tree, release)),
        groups=frozenset(site.user for site in release.sites if _has_group(site.user)),
        writable_folders=dict(_writable_folders(release)) if tree.is_machine else {},
        closed=frozenset(_inaccessible_folders(release)) if tree.is_machine else frozenset(),
        to_set_up=frozenset(_to_set_up(release)) if tree.is_machine else frozenset(),
        servers=servers or Servers(),
        written=dict(_written_files(tree, release)),
    )


def _checkers(tree: Tree) -> Iterable[str]:
    is_roots = tree.is_machine or os.geteuid() == 0
    for judge in (each.installed_check for each in watchers()):
        # It may refuse files that are not root's.
        if judge and (judge.is_needed or (is_roots and _is_installed(judge.words[0]))):
            yield judge.words[0]


def _is_installed(program: str) -> bool:
    return shutil.which(program, path=PROGRAM_PATH) is not None


def _folders(tree: Tree, release: Release) -> Iterable[tuple[Path, Permissions]]:
    for site in release.sites:
        for path in needed_folders(site):
            place = tree.path(str(path))
            try:
                status = place.stat()
            except OSError:
                continue
            yield path, Permissions(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    for path in release.permitted if tree.is_machine else ():
        with suppress(OSError):
            status = path.lstat()
            yield (
                path,
                Permissions(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, False),
            )


def _written_files(tree: Tree, release: Release) -> Iterable[tuple[Path, Permissions]]:
    """Yield the log and the data of each embedded site, without links."""
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
                yield path, Permissions(mode, status.st_uid, status.st_gid, is_folder)


def needed_folders(site: Site) -> list[Path]:
    """Return each folder that a web server has to enter, and those to write to."""
    inner = [site.live, site.data, site.data / "egg-cache", site.log]
    return list(dict.fromkeys(p for path in inner for p in [*reversed(path.parents), path]))


def _writable_folders(release: Release) -> Iterable[tuple[Path, WritableFolder | None]]:
    for site in release.sites:
        for path, _ in site.writable_folders:
            try:
                status = path.stat()
            except FileNotFoundError:
                yield path, None
                continue
            folder = Permissions(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
            yield (
                path,
                WritableFolder(folder, accounts.account_name(status.st_uid), _is_empty(path)),
            )


def _is_empty(path: Path) -> bool:
    try:
        return not os.listdir(path)
    except OSError:
        return False  # We may not read it, so it is not given away.


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


def _inaccessible_folders(release: Release) -> Iterable[tuple[str, Path]]:
    """Yield each account with a folder that it has to use but cannot."""
    if os.geteuid() != 0:
        return
    for site in release.sites:
        if _machine_account(site.user).uid <= 0:
            continue
        words = []
        for path in [*reversed(site.live.parents), site.live]:
            words += ["x", str(path)]
        for path, _ in site.writable_folders:
            words += ["w", str(path)] if path.exists() else []
        output = run(["sh", "-c", _MAY_NOT, "sh", *words], "sh", account=site.user)
        yield from ((site.user, Path(path)) for path in output.split("\0") if path)


def _to_set_up(release: Release) -> Iterable[str]:
    for name, database in databases(release.folder).items():
        try:
            is_done = setup_record(release.folder.parent.parent, name, database).exists()
        except OSError:
            continue  # Only root can read it.
        if not is_done:
            yield name
