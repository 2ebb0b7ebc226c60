"""Load the application of a release once, on trial, before the release goes live.

A child process does what serving does, as the account of the site: it sets up logging, and has
PasteDeploy load the application. It sees a private copy of what the account writes, and no network.
Run as a program, this module is that child, until it becomes the application's interpreter.
"""

import ctypes
import fcntl
import json
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pylonyard.system import accounts, progress, safe_files
from pylonyard.system.errors import ArtifactError, PylonyardError
from pylonyard.system.subprocesses import clean_environment

if TYPE_CHECKING:
    from pylonyard.releases.validators import Draft

PACKAGES = Path(__file__).resolve().parents[2]
"""The folder that ``pylonyard`` is imported from."""

CANNOT_ISOLATE = 125
"""The exit status of a child that this machine refuses a private mount."""

# Run by the application's interpreter, which may be Python 2.7. It writes what it found to a pipe.
_LOAD = r"""
import errno, json, os, re, socket, sys, traceback
ini, report = sys.argv[1], int(sys.argv[2])
del sys.argv[1:]
library = os.path.dirname(os.__file__)

def where(error, trace):
    if isinstance(error, SyntaxError) and error.filename:
        return '%s, line %s' % (error.filename, error.lineno)
    frames = [frame[:2] for frame in traceback.extract_tb(trace)]
    own = [(path, line) for path, line in frames if not path.startswith('<')
           and '%spaste%sdeploy%s' % (os.sep, os.sep, os.sep) not in path
           and (not path.startswith(library + os.sep) or '-packages' in path)]
    return '%s, line %s' % own[-1] if own else ini

def is_of_network(error):
    refused = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)
    while error is not None:
        if isinstance(error, socket.gaierror) or getattr(error, 'errno', None) in refused:
            return True
        if re.search('(?i)connection refused|network is unreachable|could not translate host'
                     '|name resolution|name or service not known|can.t connect|unknown .*host',
                     str(error)):
            return True
        error = getattr(error, '__cause__', None) or getattr(error, '__context__', None)
    return False

def load():
    try:
        from configparser import RawConfigParser
        from urllib.parse import quote
    except ImportError:
        from ConfigParser import RawConfigParser
        from urllib import quote
    parser = RawConfigParser()
    parser.read([ini])
    if parser.has_section('loggers'):
        from logging.config import fileConfig
        here = os.path.dirname(os.path.abspath(ini))
        names = {'__file__': ini.replace('%', '%%'), 'here': here.replace('%', '%%')}
        fileConfig(ini, names, disable_existing_loggers=False)
    from paste.deploy import loadapp
    loadapp('config:' + quote(ini))

found = {'loaded': True}
try:
    load()
except BaseException:
    kind, error, trace = sys.exc_info()
    text = ' '.join(str(error).split())
    said = '%s: %s' % (kind.__name__, text) if text else kind.__name__
    found = {'said': said, 'where': where(error, trace), 'network': is_of_network(error)}
os.write(report, json.dumps(found).encode('ascii'))
# What it started, or would do at its end, is not waited for.
os._exit(0)
"""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An application to be loaded."""

    python: str
    ini: str
    user: str
    """The account, if we are root; empty for our own."""
    environment: Mapping[str, str]
    written: Sequence[str]
    """The folders that the account writes to; the application gets copies."""
    directory: str
    """The folder that it runs in, one of these."""
    umask: int
    seconds: int
    """How long it may take."""
    network: bool


@dataclass(frozen=True)
class Outcome:
    """What came of a trial."""

    refused: str = ""
    """Why the application cannot be loaded; empty if it can."""
    untried: str = ""
    """Why it could not be tried; empty if it was."""


def load(trial: Trial) -> Outcome:
    """Load an application, and say what came of it."""
    scratch = tempfile.mkdtemp(prefix="pylonyard-load-")
    os.chmod(scratch, 0o755)  # the account looks into what is mounted there
    ours, theirs = os.pipe()
    words = [sys.executable, "-E", "-s", "-S", "-m", "pylonyard.releases.trial"]
    try:
        with (
            open(ours, encoding="utf-8") as report,
            subprocess.Popen(
                [*words, json.dumps(asdict(trial)), scratch, str(theirs)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=PACKAGES,
                pass_fds=[theirs],
                start_new_session=True,
                text=True,
                errors="replace",
            ) as child,
        ):
            os.close(theirs)
            try:
                printed, _ = child.communicate(timeout=trial.seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                return Outcome(f"it was not loaded within {trial.seconds} s (start-timeout)")
            except BaseException:
                child.kill()
                raise
            return _outcome(report.read(), child.returncode, printed, trial)
    finally:
        # What was mounted there went with the child.
        shutil.rmtree(scratch, ignore_errors=True)


def _outcome(report: str, status: int, printed: str, trial: Trial) -> Outcome:
    if report:
        found = safe_files.json_object(report)
        if "loaded" in found:
            return Outcome()
        if found["network"] and not trial.network:
            return Outcome(untried=f"it needs the network to be loaded: {found['said']}")
        return Outcome(f"{found['said']} ({found['where']})")
    last = next((line for line in reversed(printed.splitlines()) if line.strip()), "")
    if status == CANNOT_ISOLATE:
        return Outcome(untried=f"its data cannot be kept from it here: {last}")
    return Outcome(f"it ended while it was loaded, with exit status {status}: {last.strip()}")


def load_sites(
    draft: "Draft", sites: Iterable[str], parts: Mapping[str, str], option: str = "true"
) -> list[str]:
    """Load the application of each site of a draft; return a line for each that was not tried.

    :param parts: the part that made each file, for messages
    :param option: ``true``; ``network`` if they may use it meanwhile; ``false`` if none is loaded
    :raises ArtifactError: if one cannot be loaded
    """
    told = []
    for site in sites if option != "false" else ():
        path = f"{site}/production.ini"
        if not all((draft.folder / each).is_file() for each in (path, f"{site}/server.json")):
            continue
        with progress.of(f"Loading the application of {site}"):
            found = _load_site(draft, site, network=option == "network")
        if found.refused:
            why = found.refused.replace(str(draft.folder), str(draft.live))
            raise ArtifactError(parts[path], path, "its application", why)
        if found.untried:
            told.append(f"{site} was not loaded before it went live: {found.untried}")
    return told


def _load_site(draft: "Draft", site: str, *, network: bool) -> Outcome:
    from pylonyard.server import status
    from pylonyard.server.settings import load as settings_of

    folder, live = draft.folder, draft.live
    there = settings_of(folder / site / "server.json")
    user = there.user
    if not accounts.can_act_as(user):
        return Outcome(untried=f"that takes root, or {user}")
    if not there.overlap and (there.mode != "proxy" or status.find_processes(there).all):
        return Outcome(untried="it runs, and overlap = false")
    account = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    who = {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
    written = {there.data, there.run, there.log.parent, there.application_log.parent}
    if absent := [each for each in written if not each.is_dir()]:
        return Outcome(untried=f"there is no folder {absent[0]}")
    python = there.python or str(folder / site / "env" / "bin" / "python")
    trial = Trial(
        python=python.replace(f"{live}/", f"{folder}/"),
        ini=str(there.ini).replace(f"{live}/", f"{folder}/"),
        user=user,
        # An environment never changes, not even by bytecode.
        environment=clean_environment({**who, "PYTHONDONTWRITEBYTECODE": "1", **there.environment}),
        written=[
            str(each.resolve())
            for each in sorted(written)
            if not any(other in each.parents for other in written)
        ],
        directory=str(there.data.resolve()),
        umask=there.umask,
        seconds=there.start_timeout,
        network=network,
    )
    return load(trial)


# The child. It needs the rights of root, or of an account in a namespace of its own.

_NAMESPACES = {"user": 0x10000000, "mount": 0x00020000, "pid": 0x20000000, "net": 0x40000000}
_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE
_PR_SET_PDEATHSIG = 1
_COPIES = "1g"
"""The most that copies of files may take, in memory."""


class _CannotIsolateError(PylonyardError):
    """The machine does not let us have what a trial needs."""


def _call(name: str, *words: bytes | int | None) -> None:
    """Call a function of the C library.

    :raises _CannotIsolateError: if it fails
    """
    if getattr(_libc, name)(*words) != 0:
        raise _CannotIsolateError(f"{name}: {os.strerror(ctypes.get_errno())}")


def _enter_namespaces(trial: Trial) -> None:
    uid, gid = os.geteuid(), os.getegid()
    wanted = {"mount", "pid", *([] if uid == 0 else ["user"]), *([] if trial.network else ["net"])}
    _call("unshare", sum(_NAMESPACES[name] for name in wanted))
    if uid:
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        except OSError as error:
            raise _CannotIsolateError(f"{error.filename}: {error.strerror}") from error
    if not trial.network:
        _raise_loopback()
    _call("mount", b"none", b"/", None, _PRIVATE, None)


def _raise_loopback() -> None:
    """Have 127.0.0.1 in a network of our own."""
    with suppress(OSError), socket.socket() as one:
        request = struct.pack("16sH14s", b"lo", 1, b"")  # IFF_UP
        fcntl.ioctl(one, 0x8914, request)  # SIOCSIFFLAGS


def _cover(folders: Sequence[str], scratch: str) -> None:
    """Lay a private, empty layer over folders: what is written to them goes there."""
    size = f"mode=0755,size={_COPIES}".encode()
    _call("mount", b"tmpfs", scratch.encode(), b"tmpfs", 0, size)
    for number, folder in enumerate(folders):
        layers = [os.path.join(scratch, f"{kind}{number}") for kind in ("upper", "work")]
        for layer in layers:
            os.mkdir(layer)
        there = os.stat(folder)
        with suppress(OSError):  # in a namespace of ours there are no others
            os.chown(layers[0], there.st_uid, there.st_gid)
        os.chmod(layers[0], there.st_mode & 0o7777)
        # Relative, since its name may have characters that an option cannot hold.
        os.chdir(folder)
        words = f"lowerdir=.,upperdir={layers[0]},workdir={layers[1]}"
        more = ",userxattr" if os.geteuid() else ""
        _call("mount", b"overlay", b".", b"overlay", 0, (words + more).encode())
    os.chdir("/")


def _become(trial: Trial) -> None:
    if trial.user and os.geteuid() == 0:
        entry = pwd.getpwnam(trial.user)
        os.initgroups(trial.user, entry.pw_gid)
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


def main(words: Sequence[str]) -> int:
    """Isolate ourselves, and become the application's interpreter, which loads it."""
    trial, scratch, report = Trial(**safe_files.json_object(words[0])), words[1], words[2]
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        _enter_namespaces(trial)
        if pid := os.fork():
            # The first process of the namespace: all others end with it.
            _, status = os.waitpid(pid, 0)
            return os.waitstatus_to_exitcode(status) & 0xFF
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _cover(trial.written, scratch)
        with suppress(_CannotIsolateError):
            _call("mount", b"proc", b"/proc", b"proc", 0, None)
    except (_CannotIsolateError, OSError) as error:
        print(error, flush=True)
        return CANNOT_ISOLATE
    _become(trial)
    os.umask(trial.umask)
    os.chdir(trial.directory)
    os.set_inheritable(int(report), True)
    os.execve(trial.python, [trial.python, "-c", _LOAD, trial.ini, report], trial.environment)


_libc = ctypes.CDLL(None, use_errno=True)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
