"""Look up the accounts of sites, whether they exist on this machine yet or not."""

import errno
import grp
import os
import pwd
import shlex
from pathlib import Path

MAKING = "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin"
"""The command that makes an account, without its name."""

ROOTS_FOLDER = "/var/lib/pylonyard"
"""The folder in which root records activations of all sandboxes."""


def entry(name: str) -> pwd.struct_passwd | None:
    """Return the passwd entry of an account; None if there is no such account."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def missing(name: str) -> str:
    """Return the message for an account that does not exist; '' if it does."""
    if entry(name):
        return ""
    return f"expected an existing account, got {name!r}; make it, as root, with: {MAKING} {name}"


def is_root(name: str) -> bool:
    """Return whether an account has root's rights, whatever it is called."""
    found = entry(name)
    return found is not None and found.pw_uid == 0


def is_ours(name: str) -> bool:
    found = entry(name)
    return found is not None and found.pw_uid == os.geteuid()


def can_act_as(name: str) -> bool:
    """Return whether we can act as an account, and give files to it."""
    return is_ours(name) or (os.geteuid() == 0 and entry(name) is not None)


def new_owner(name: str) -> tuple[int, int] | None:
    """Return the user and group numbers to give a folder to; None if it stays ours."""
    found = entry(name)
    assert found is not None
    return None if is_ours(name) else (found.pw_uid, found.pw_gid)


def gid(name: str) -> int | None:
    found = entry(name)
    return None if found is None else found.pw_gid


def group(name: str) -> str:
    """Return the group of an account; for an account to be made, its future group."""
    number = gid(name)
    if number is None:
        return name
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def as_root(*commands: str) -> str:
    """Return one line with commands for root: by ``sudo`` if there is one, unless we are root."""
    if os.geteuid() == 0:
        return " && ".join(commands)
    if has_sudo():
        return " && ".join(f"sudo {command}" for command in commands)
    return f"as root: {' && '.join(commands)}"


def has_sudo() -> bool:
    """Return whether this machine has ``sudo``, which a bare Debian lacks."""
    places = (os.path.join(folder, "sudo") for folder in os.get_exec_path())
    return any(os.access(place, os.X_OK) for place in places)


def account_name(uid: int) -> str:
    """Return the name of an account, or its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def recovery_advice(error: OSError) -> str:
    """Return the command that gives us files of another account; '' if they are not the cause.

    Files in ``var`` may belong to a site, and stay as they are.
    """
    us, name = os.geteuid(), error.filename
    if us == 0 or error.errno not in (errno.EACCES, errno.EPERM) or not isinstance(name, str):
        return ""
    theirs = None
    for place in (Path(os.path.abspath(name)), *Path(os.path.abspath(name)).parents):
        owner = _owner(place)
        if owner == us:
            if theirs is None:
                break
            # Groups stay: files with secrets have that of a site's account.
            giving = as_root(shlex.join(["chown", "-Rh", account_name(us), str(theirs)]))
            return f"to take over what {account_name(_owner(theirs) or 0)} left there: {giving}"
        theirs = place if owner not in (None, us) and place.name != "var" else None
    return ""


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def is_home(path: Path) -> bool:
    """Return whether a folder is the home of any account of this machine."""
    return str(path) in {os.path.realpath(each.pw_dir) for each in pwd.getpwall()}
