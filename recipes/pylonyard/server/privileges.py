"""The account that everything runs as."""

import os
import pwd
from dataclasses import dataclass

from pylonyard.server.errors import NOT_CONFIGURED, NOT_PERMITTED, ServerError


@dataclass(frozen=True)
class Account:
    name: str
    home: str


def current() -> Account:
    """Return the account of this process, which need not have a name."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return Account(str(os.getuid()), "/")
    return Account(entry.pw_name, entry.pw_dir)


def gives_up_root(user: str) -> bool:
    """Whether ``become`` makes a lesser account of root."""
    try:
        return bool(user) and os.geteuid() == 0 and pwd.getpwnam(user).pw_uid != 0
    except KeyError:
        return False


def expect_no_root(name: str, deployment: str) -> str:
    """Return what to warn of if we run a site as root; empty if nothing.

    :raises ServerError: if it is one of staging or production
    """
    if os.geteuid() or not deployment:
        return ""
    advice = f"name an account in its section, as in user = {name}, and run bin/buildout"
    if deployment != "development":
        message = f"expected an account of its own in {deployment}, got root; {advice}"
        raise ServerError(message, NOT_PERMITTED)
    return f"warning: runs as root, and so does whoever breaks into it; {advice}"


def become(user: str) -> Account:
    """Run as ``user`` from here on, for good; as we are if it is empty.

    :raises ServerError: if there is no such account, or it is not ours to take
    """
    if not user:
        return current()
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        message = f"there is no account {user} on this machine"
        raise ServerError(message, NOT_CONFIGURED) from None
    if os.getuid() != entry.pw_uid:
        if os.geteuid() != 0:
            message = f"only root and {user} may do this, not {current().name}"
            raise ServerError(message, NOT_PERMITTED)
        os.initgroups(user, entry.pw_gid)
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    return Account(user, entry.pw_dir)
