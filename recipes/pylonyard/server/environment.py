"""What our processes inherit: nothing that we do not choose."""

import ctypes
import os
import pwd
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from pylonyard.server.settings import Settings
from pylonyard.system.errors import NOT_CONFIGURED, NOT_PERMITTED, ServerError
from pylonyard.system.processes import Marker

# The account that everything runs as.


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


PATH = "/usr/local/bin:/usr/bin:/bin"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
DEFAULTED = [
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGPIPE,
    signal.SIGQUIT,
    signal.SIGCHLD,
]


def base(caller: Mapping[str, str], kept: tuple[str, ...] = ()) -> dict[str, str]:
    """Return what any program needs; of the caller's variables only ``kept``."""
    account = current()
    passed = {name: caller[name] for name in ("TZ", *kept) if name in caller}
    who = {"HOME": account.home, "USER": account.name, "LOGNAME": account.name}
    return {"PATH": PATH, "LANG": "C.UTF-8", **who, **passed}


def of_server(settings: Settings, caller: Mapping[str, str], *markers: Marker) -> dict[str, str]:
    """Return the environment of the application."""
    marks = {marker.variable: marker.identity for marker in markers}
    # What it prints is in the log when it happens, not when it ends.
    return {**base(caller), "PYTHONUNBUFFERED": "1", **settings.environment, **marks}


def of_terminal(settings: Settings, caller: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that a person talks to."""
    return {**base(caller, ("TERM", "COLUMNS", "LINES")), **settings.environment}


def confine(settings: Settings) -> None:
    """Set what a process hands on to its program, shortly before that starts.

    A background shell ignores SIGINT, some daemons SIGHUP or SIGCHLD. Programs that
    close every number up to the limit take seconds if it is a million.
    """
    for number in DEFAULTED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(settings.umask)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = settings.open_files
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process, a child of ``parent``, when that ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was faster
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


# Loaded beforehand: a child that was just forked should import nothing.
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")
