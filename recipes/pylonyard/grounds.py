"""The account of a site: whether a run can go on with it, and what it can reach.

It is looked at before anything is made.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pylonyard import accounts
from pylonyard.activation.access import SEARCH, bits_of
from pylonyard.activation.tree import Tree
from pylonyard.activation.world import Account, Folder, account
from pylonyard.errors import CommandError
from pylonyard.running import PROGRAM_PATH, run
from pylonyard.sandboxes import interpreter

READ = 0o4
WHAT_RUNS_US = "import sys; sys.exit(sys.version_info < (3, 10))"


class Described(Protocol):
    """What is to be known of a site."""

    @property
    def name(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def environment(self) -> str: ...


def account_problem(site: Described) -> str:
    """Return why a site cannot be run as its account; '' if it can, once that is there."""
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
    """Tell whether an account may use a path; where that cannot be told, it may."""
    try:
        status = path.stat()
        if "system.posix_acl_access" in os.listxattr(path):
            return True
    except OSError:
        return True
    folder = Folder(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    return bits & ~bits_of(who, folder) == 0


def closed(who: Account, path: Path) -> Path | None:
    """Return the first place on the way to ``path`` that is closed to an account, if any is."""
    with suppress(OSError):
        path = path.resolve(strict=True)
    for folder in reversed(path.parents):
        if not may(who, folder, SEARCH):
            return folder
    return None if may(who, path, READ | SEARCH if path.is_dir() else READ) else path


def reach_problem(site: Described, needed: list[Path], python: Path | None) -> str:
    """Return what the account of a site cannot read, and where it should be; '' if nothing.

    :param needed: the sandbox, and the stores that it uses
    :param python: which interpreter runs the application; None for buildout's own
    """
    if accounts.entry(site.user) is None or accounts.is_ours(site.user):
        return ""
    who = on_machine(site.user)
    for place in needed:
        if (place.exists() or place == needed[0]) and (folder := closed(who, place)):
            return (
                f"{site.user} cannot read {folder}, and so nothing of {place}; keep it where "
                f"every account may read, such as /srv/{site.name}, and make it anew there"
            )
    return _interpreter_problem(who, python)


def _interpreter_problem(who: Account, python: Path | None) -> str:
    used = python or interpreter()
    library = Path(os.__file__).parent
    for place in [used] if python else [used, library]:
        if folder := closed(who, place):
            return (
                f"{who.name} cannot read {folder}, where {used} is; use another Python: "
                f"{_other_interpreter(who, python)}"
            )
    return ""


def _other_interpreter(who: Account, python: Path | None) -> str:
    """Return how to use one that an account can read, of the same version if one was chosen."""
    if python is None:
        return f"{next(usable(who), None) or 'PYTHON'} bootstrap.py"
    same = shutil.which(python.name, path=PROGRAM_PATH)
    if same and not closed(who, Path(same)):
        return f"python = {same} in the application's section"
    return (
        f"install {python.name} where every account may read, below /usr/local say, and name it "
        "as python in the application's section"
    )


def usable(who: Account) -> Iterator[Path]:
    """Yield interpreters of the machine that an account can use, and that are new enough."""
    for name in ("python3", *(f"python3.{minor}" for minor in range(20, 9, -1))):
        found = shutil.which(name, path=PROGRAM_PATH)
        if found is None or closed(who, Path(found)):
            continue
        with suppress(CommandError):
            run([found, "-I", "-S", "-c", WHAT_RUNS_US], found)
            yield Path(found)

