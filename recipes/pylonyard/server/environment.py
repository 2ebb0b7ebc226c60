"""Choose the account, environment, signals and limits of the processes that we start."""

import ctypes
import os
import pwd
import resource
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pylonyard.server.settings import Settings
from pylonyard.system import relocation
from pylonyard.system.errors import NOT_CONFIGURED, NOT_INSTALLED, NOT_PERMITTED, ServerError
from pylonyard.system.processes import Marker


def check_installed(settings: Settings) -> None:
    """Check that the site can run, before a server that works is stopped.

    :raises ServerError: if the application or its configuration is missing
    """
    if settings.python and not os.path.exists(settings.python):
        removed = f"{os.path.realpath(settings.python)}, which runs the site, was removed"
        advice = relocation.how_to_make_anew(settings.sandbox)
        raise ServerError(f"{removed}: {advice}", NOT_INSTALLED)
    if not os.access(settings.paster, os.X_OK):
        message = f"cannot run {settings.paster}: run bin/buildout"
        raise ServerError(message, NOT_INSTALLED)
    if not os.access(settings.ini, os.R_OK):
        message = f"cannot read {settings.ini}: run bin/buildout"
        raise ServerError(message, NOT_CONFIGURED)


# The account.


@dataclass(frozen=True)
class Account:
    name: str
    home: str


def current() -> Account:
    """Return the account of this process; it may have no name."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return Account(str(os.getuid()), "/")
    return Account(entry.pw_name, entry.pw_dir)


def gives_up_root(user: str) -> bool:
    """Return whether ``become`` drops root's rights."""
    try:
        return bool(user) and os.geteuid() == 0 and pwd.getpwnam(user).pw_uid != 0
    except KeyError:
        return False


def expect_no_root(name: str, deployment: str) -> str:
    """Return a warning if a site would run as root; empty if not.

    :raises ServerError: if the site is one of staging or production
    """
    if os.geteuid() or not deployment:
        return ""
    advice = f"name an account in its section, as in user = {name}, and run bin/buildout"
    if deployment != "development":
        message = f"expected an account of its own in {deployment}, got root; {advice}"
        raise ServerError(message, NOT_PERMITTED)
    return f"warning: runs as root, and so does whoever breaks into it; {advice}"


def become(user: str) -> Account:
    """Run as ``user`` from here on, for good; stay as we are if it is empty.

    :raises ServerError: if there is no such account, or we may not become it
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


NOT_FOR_READERS = "pkg_resources is deprecated"
"""A warning that PasteScript causes; whoever reads it can do nothing about it."""


def base(caller: Mapping[str, str], kept: tuple[str, ...] = ()) -> dict[str, str]:
    """Return a minimal environment; of the caller's variables it has only ``kept``."""
    account = current()
    passed = {name: caller[name] for name in ("TZ", *kept) if name in caller}
    who = {"HOME": account.home, "USER": account.name, "LOGNAME": account.name}
    return {"PATH": PATH, "LANG": "C.UTF-8", **who, **passed}


def of_server(settings: Settings, caller: Mapping[str, str], *markers: Marker) -> dict[str, str]:
    """Return the environment of the application."""
    marks = {marker.variable: marker.identity for marker in markers}
    # Unbuffered, so that the log has its output at once.
    return {**base(caller), "PYTHONUNBUFFERED": "1", **settings.environment, **marks}


def of_terminal(settings: Settings, caller: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program at a terminal."""
    quiet = {"PYTHONWARNINGS": f"ignore:{NOT_FOR_READERS}:UserWarning"}
    return {**base(caller, ("TERM", "COLUMNS", "LINES")), **quiet, **settings.environment}


def confine(settings: Settings) -> None:
    """Reset signals, umask and limit of open files, just before a program is started.

    A background shell ignores SIGINT, some daemons ignore SIGHUP or SIGCHLD. Programs that
    close every descriptor up to the limit take seconds if it is a million.
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
    """Have the kernel send this process SIGTERM when ``parent``, its parent, ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def adopt_orphans() -> None:
    """Have the kernel make us the parent of descendants whose parent ends."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


# Loaded now, since a child that was just forked should import nothing.
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


# The command line of the server, in a wrapper that lets it finish its requests.


GENTLE = Path(__file__).parent / "shim" / "gentle.py"


def interpreter(script: Path) -> list[str]:
    """Return the Python, with options, in the first line of ``script``; [] if it names none."""
    with open(script, "rb") as stream:
        first = stream.readline(4096).decode(errors="replace").strip()
    words = first[2:].split() if first.startswith("#!") else []
    is_python = bool(words) and Path(words[0]).name.startswith("python")
    return words if is_python else []


def python(settings: Settings) -> list[str]:
    return [settings.python] if settings.python else interpreter(settings.paster)


def is_wrapped(settings: Settings) -> bool:
    """Return whether the server runs inside ``gentle``: it does if Python runs it."""
    return bool(python(settings))


def command(settings: Settings) -> list[str]:
    """Return the server's command line: paster in the application's interpreter.

    A script that names no Python, such as a shell script, runs as it is.
    """
    wrapped = [*python(settings), str(GENTLE)] if is_wrapped(settings) else []
    return [*wrapped, str(settings.paster), *serve_words(settings)]


BEHIND_WEB_SERVER = "pylonyard-served"
"""The application in an ini that knows the headers of a web server, if the server does not."""


def serve_words(settings: Settings, *options: str) -> list[str]:
    """Return the words that have paster serve the ini."""
    with suppress(OSError):
        if f"[filter-app:{BEHIND_WEB_SERVER}]".encode() in settings.ini.read_bytes():
            options = (*options, f"--app-name={BEHIND_WEB_SERVER}")
    return ["serve", *options, str(settings.ini)]
