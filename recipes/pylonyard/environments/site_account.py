"""Check whether a run can use the account of a site, and who owns the files in ``var``.

This is checked before anything is made.
"""

import os
import shlex
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pylonyard.config.layout import REAL_SERVER, Layout, page
from pylonyard.packages.interpreters import interpreter
from pylonyard.system import accounts, relocation
from pylonyard.system.atomic import open_folder
from pylonyard.system.errors import CommandError, UserError
from pylonyard.system.rootfs import SEARCH, WRITE, Account, Permissions, Tree, account, bits_of
from pylonyard.system.subprocesses import PROGRAM_PATH, run

READ = 0o4
WHAT_RUNS_US = "import sys; sys.exit(sys.version_info < (3, 10))"


class SiteIdentity(Protocol):
    """The name, account and environment of a site."""

    @property
    def name(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def environment(self) -> str: ...


def account_problem(site: SiteIdentity) -> str:
    """Return why a site cannot run as its account; '' if it can, or can once that exists."""
    user, environment = site.user, site.environment
    if environment != "development" and accounts.is_root(user):
        return (
            f"expected an account of the site's own in {environment}, got {user!r}, who is root; "
            f"name one, as in: user = {site.name}"
        )
    return accounts.missing(user) if environment == "development" else ""


def on_machine(user: str) -> Account:
    return account(Tree(Path("/")), user)


def may(who: Account, path: Path, bits: int) -> bool:
    """Return whether an account may use a path; if unknown, it may."""
    try:
        status = path.stat()
        if "system.posix_acl_access" in os.listxattr(path):
            return True
    except OSError:
        return True
    folder = Permissions(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    return bits & ~bits_of(who, folder) == 0


def closed_folders(who: Account, path: Path) -> Path | None:
    """Return the first folder above ``path`` that an account cannot enter, if any."""
    with suppress(OSError):
        path = path.resolve(strict=True)
    for folder in reversed(path.parents):
        if not may(who, folder, SEARCH):
            return folder
    return None if may(who, path, READ | SEARCH if path.is_dir() else READ) else path


def reach_problem(site: SiteIdentity, needed: list[Path], python: Path | None) -> str:
    """Return the message about a file that the site's account cannot read; '' if none.

    :param needed: the sandbox, and the stores that it uses
    :param python: which interpreter runs the application; None for buildout's own
    """
    if accounts.entry(site.user) is None or accounts.is_ours(site.user):
        return ""
    who = on_machine(site.user)
    for place in needed:
        if (place.exists() or place == needed[0]) and (folder := closed_folders(who, place)):
            return (
                f"{site.user} cannot read {folder}, and so nothing of {place}; keep it where "
                f"every account may read, such as /srv/{site.name}, and make it there again"
            )
    return _interpreter_problem(who, python, needed[0])


def _interpreter_problem(who: Account, python: Path | None, sandbox: Path) -> str:
    used = python or interpreter()
    library = Path(os.__file__).parent
    for place in [used] if python else [used, library]:
        if folder := closed_folders(who, place):
            return (
                f"{who.name} cannot read {folder}, where {used} is; use another Python: "
                f"{_other_interpreter(who, python, sandbox)}"
            )
    return ""


def _other_interpreter(who: Account, python: Path | None, sandbox: Path) -> str:
    """Return the advice to use an interpreter that the account can read."""
    if python is None:
        other = str(next(usable(who), "PYTHON"))
        command = relocation.bootstrap_command(sandbox, other)
        return command or f"make the environment of this buildout again with {other}"
    same = shutil.which(python.name, path=PROGRAM_PATH)
    if same and not closed_folders(who, Path(same)):
        return f"python = {same} in the application's section"
    return (
        f"install {python.name} where every account may read, below /usr/local say, and name it "
        "as python in the application's section"
    )


def usable(who: Account) -> Iterator[Path]:
    """Yield the interpreters of the machine that an account can use, if new enough."""
    for name in ("python3", *(f"python3.{minor}" for minor in range(20, 9, -1))):
        found = shutil.which(name, path=PROGRAM_PATH)
        if found is None or closed_folders(who, Path(found)):
            continue
        with suppress(CommandError):
            run([found, "-I", "-S", "-c", WHAT_RUNS_US], found)
            yield Path(found)


# Who owns the files that a run or a site has to write; checked before anything is made.
#
# A run is its checkout's owner's.  ``var/log``, ``var/run`` and ``var/data/<site>`` are
# the site's account's; all else is whose the checkout is.


def written_paths(var: Path, site: str) -> Mapping[Path, int]:
    """Return the folders that a site writes to, with their modes."""
    return {var / "log": 0o755, var / "run": 0o755, var / "data" / site: 0o750}


def data_problem(site: SiteIdentity, var: Path) -> str:
    """Return the message about files in ``var`` that the site's account cannot write; or ''."""
    places = list(_unwritten(on_machine(site.user), site.name, var))
    if not places:
        return ""
    found = f"{site.user} cannot write {_counted(places)}"
    shared = (var / "log", var / "run")
    is_there = accounts.entry(site.user) is not None
    making = () if is_there else (f"{accounts.MAKING} {site.user}",)
    giving = _giving(f"{site.user}:", places, shared=shared, first=making)
    if accounts.is_ours(site.user):
        return f"{found}; to take over what another account left there: {giving}"
    missing = "" if is_there else ", and is no account of this machine yet"
    own = f"use a checkout of its own below /srv: {page(REAL_SERVER)}"
    return f"{found}{missing}; {own}, or, to keep these files: {giving}"


def _unwritten(who: Account, name: str, var: Path) -> Iterator[Path]:
    folders = written_paths(var, name)
    for folder in folders:
        if not folder.is_dir() or is_empty(folder):
            continue  # an empty folder is given to it
        is_closed = not may(who, folder, READ | WRITE)
        if is_closed:
            yield folder
        # Of a folder that sites share, the files are not given with it.
        if not is_closed or folder != var / "data" / name:
            yield from (p for p in _files(folder, name, var) if not may(who, p, READ | 0o2))


def _files(folder: Path, name: str, var: Path) -> Iterator[Path]:
    """Yield the files of a site in a folder, without links."""
    shared = folder != var / "data" / name
    names = (f"{name}.log", f"{name}-server.log", f"{name}.lock", f"{name}.wanted")
    for path in (folder / each for each in names) if shared else _entries(folder):
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            yield path


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder; [] if we may not read it."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def is_empty(folder: Path) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:
        return False


def take_over(folder: Path, owner: tuple[int, int]) -> None:
    """Give an empty folder to an account.

    :raises OSError: if it is no folder
    """
    descriptor = open_folder(folder)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != owner[0] and not os.listdir(descriptor):
            os.fchown(descriptor, *owner)
    finally:
        os.close(descriptor)


def expect_writable(layout: Layout) -> None:
    """Check that a run can write to all folders that it has to change.

    :raises UserError: naming all that is another account's, and how to go on
    """
    if os.geteuid() == 0:
        return
    places = [place for place in _changed(layout) if _is_others(place)]
    if not places:
        return
    owner, us = layout.directory.stat().st_uid, accounts.account_name(os.geteuid())
    found = f"{us} cannot write {_counted(places)}"
    if owner == os.geteuid():
        # Groups stay: files with secrets have that of a site's account.
        giving = _giving(us, places, shared=(layout.var,))
        raise UserError(f"{found}; to take over what another account's run left: {giving}")
    raise UserError(f"{found}; run this as the checkout's owner, {accounts.account_name(owner)}")


def _changed(layout: Layout) -> Iterator[Path]:
    base = layout.directory
    yield from (base, base / ".installed.cfg", base / ".pylonyard.lock")
    folders = [layout.parts, layout.bin, layout.releases, base / "develop-eggs"]
    folders += [base / ".pylonyard", layout.var, layout.var / "secrets", layout.var / "setup"]
    stores = (layout.cache, layout.eggs)
    for top in (*folders, *(store for store in stores if store.is_relative_to(base))):
        yield top
        inner = _folders(top) if top != layout.var else ()
        for folder in inner:
            yield folder
            if top == layout.eggs:
                yield from _folders(folder)


def _folders(top: Path) -> Iterable[Path]:
    try:
        with os.scandir(top) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:
        return ()


def _is_others(place: Path) -> bool:
    try:
        return place.lstat().st_uid != os.geteuid() and not os.access(place, os.W_OK)
    except OSError:
        return False


def _other_owner(directory: Path) -> str:
    """Return the owner of a checkout if we are root and the owner is not; else ''."""
    owner = directory.stat().st_uid
    return accounts.account_name(owner) if owner and not os.geteuid() else ""


def root_warning(directory: Path) -> str:
    """Return a warning if root runs in another account's checkout; else ''."""
    if not (name := _other_owner(directory)):
        return ""
    giving = shlex.join(["chown", "-Rh", "--from=root", name, str(directory)])
    return f"{directory} belongs to {name}; to give {name} what root has made in it: {giving}"


def root_problem(directory: Path) -> str:
    """Return why root should not make a release in a checkout; '' if it may."""
    if not (name := _other_owner(directory)):
        return ""
    return (
        f"{directory} belongs to {name}, who could not change files that root makes there; "
        f"run this as {name}, without sudo: only bin/pylonyard activate needs root"
    )


def _counted(places: list[Path]) -> str:
    """Return a short text on files of other accounts: the command beside it names all."""
    owners = " and ".join(sorted({accounts.account_name(place.lstat().st_uid) for place in places}))
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{places[0]}{more}, of {owners}"


def _giving(
    owner: str, places: list[Path], shared: Collection[Path], first: Sequence[str] = ()
) -> str:
    """Return the line that gives paths to another account.

    :param shared: folders that also hold files of other accounts, which keep their owners
    :param first: commands that have to come before
    """
    alone = [place for place in places if place in shared]
    whole = [place for place in places if place not in shared]
    commands = [(f"chown -h {owner}", alone), (f"chown -Rh {owner}", whole)]
    given = [f"{command} {shlex.join(map(str, paths))}" for command, paths in commands if paths]
    return accounts.as_root(*first, *given)


@dataclass(frozen=True)
class SiteAccount:
    """The name, account and environment of a site, before its parts are initialised."""

    name: str
    user: str
    environment: str
