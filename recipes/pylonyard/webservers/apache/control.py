"""Run ``bin/<site>-httpd``, which starts and stops a site's private Apache.

Standard library only: it runs outside any sandbox.  It signals a process only
through a descriptor of that process, and only after it has found it to be this
site's own Apache, whatever the pid file says.
"""

import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pylonyard.system import command_line, errors, progress, relocation
from pylonyard.system.errors import (
    CommandError,
    PylonyardError,
    ServerError,
    interrupted,
    raising_interrupts,
)
from pylonyard.system.processes import Handle, started
from pylonyard.system.safe_files import finish, open_plainly, read_plainly, settle_standard_files
from pylonyard.system.subprocesses import PROGRAM_PATH, completed, last_line
from pylonyard.webservers.apache.graceful import Handover

PATIENCE = 30.0
"""Seconds to wait until Apache answers, or has ended."""

# Exit statuses of the Linux Standard Base.
FAILED, FORBIDDEN, NOT_INSTALLED, NOT_CONFIGURED, NOT_RUNNING = 1, 4, 5, 6, 7
STATUS_DEAD, STATUS_STOPPED, STATUS_UNKNOWN = 1, 3, 4

EXIT_STATUSES = command_line.STATUSES.format("", ", 7 not running")

ACTIONS = {
    "start": "start Apache; return once it answers",
    "graceful": "have it read its configuration again, and let running requests end",
    "stop": "stop it",
    "restart": "stop and start it, if its configuration is sound",
    "configtest": "only check its configuration",
    "status": "say whether it runs, and answers",
}


@dataclass(frozen=True)
class PrivateApache:
    """A private Apache: its files, its ports on loopback, and its account."""

    name: str
    config: str
    pid_file: str
    log: str
    port: int
    tls_port: int | None
    user: str
    sandbox: str = ""
    """The checkout or project that made it; empty if a release of it did."""

    @property
    def ports(self) -> list[int]:
        return [self.port, self.tls_port] if self.tls_port else [self.port]


Httpd = PrivateApache
"""The name that scripts of an older Pylonyard use."""


class ControlError(PylonyardError):
    """Why a command failed, in one line, and its exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def parser(site: str) -> command_line.Parser:
    """Return the parser of ``bin/<site>-httpd``."""
    description = f"The private Apache of the site {site}, to see it served without root."
    return command_line.simple(f"{site}-httpd", description, ACTIONS, EXIT_STATUSES)


def main(httpd: PrivateApache, arguments: Sequence[str]) -> int:
    """Carry out one command; return its exit status."""
    settle_standard_files()
    try:
        action = parser(httpd.name).parse_args(arguments).action
    except SystemExit as ended:
        return finish(f"{httpd.name}-httpd", int(ended.code or 0))
    what = f"{httpd.name}-httpd: waiting for Apache"
    try:
        with raising_interrupts(), progress.of(what, first_line=progress.captured_patience()):
            return COMMANDS[action](_at_present_place(httpd, action))
    except ControlError as error:
        failure = error
    except CommandError as error:  # without the account
        failure = ControlError(str(error))
    except KeyboardInterrupt:
        return interrupted(f"{httpd.name}-httpd")
    except PermissionError:
        failure = ControlError(f"only root and {httpd.user} may do that", FORBIDDEN)
    except Exception as error:
        if not (line := errors.limit_reached(error)):
            raise
        failure = ControlError(line)
    print(f"{httpd.name}-httpd: {failure}", file=sys.stderr)
    return failure.status


def _at_present_place(httpd: PrivateApache, word: str) -> PrivateApache:
    """Return the Apache with the present paths, if the sandbox was moved.

    :raises ControlError: if the command cannot be carried out there
    """
    made, name = Path(httpd.sandbox or Path(httpd.config).parents[2]), f"{httpd.name}-httpd"
    moved = relocation.detect_move(made, name, sys.argv[0])
    if moved is None:
        return httpd
    if moved.is_copy or word not in ("stop", "status"):
        raise ControlError(moved.message, STATUS_UNKNOWN if word == "status" else NOT_CONFIGURED)
    pid_file, log = (str(moved.path(Path(name))) for name in (httpd.pid_file, httpd.log))
    return replace(httpd, pid_file=pid_file, log=log)


def start(httpd: PrivateApache) -> int:
    """Start it, unless it runs; return once it answers."""
    if pid := running(httpd):
        _expect_served(httpd, pid)
        return _say(httpd, "is running already")
    _check(httpd)
    for port in httpd.ports:
        _expect_free(port)
    output = _apache(httpd, "-k", "start")
    if output.returncode:
        raise ControlError(last_line(output.stdout) or f"cannot start{_limit(httpd)}", FAILED)
    _await_answer(httpd)
    return _say(httpd, f"answers on {_addresses(httpd)}")


def _expect_served(httpd: PrivateApache, pid: int) -> None:
    """Check that a running Apache does not have the ports of an earlier release."""
    silent = [port for port in httpd.ports if not answers(httpd, port)]
    begun, release = started(pid), Path(httpd.config).parents[1]
    if silent and begun and release.is_symlink() and begun < release.lstat().st_mtime:
        what = f"runs as it was set up before, not on 127.0.0.1:{silent[0]}"
        raise ControlError(f"{what}: bin/{httpd.name}-httpd graceful")


def stop(httpd: PrivateApache) -> int:
    """Stop it; succeed if it does not run."""
    with _process(httpd) as process:
        if process is None:
            return _say(httpd, "is not running")
        if not process.send(signal.SIGTERM) and not process.wait(0):
            raise PermissionError
        if not process.wait(PATIENCE):
            raise ControlError(f"still runs {PATIENCE:g} s after it was told to stop")
    return _say(httpd, "has stopped")


def restart(httpd: PrivateApache) -> int:
    """Stop and start it; if the configuration is bad, leave it running."""
    _check(httpd)
    stop(httpd)
    return start(httpd)


def graceful(httpd: PrivateApache) -> int:
    """Let it read its configuration again, and finish running requests."""
    _check(httpd)
    with _process(httpd) as process:
        if process is None:
            raise ControlError("is not running", NOT_RUNNING)
        handover = Handover(process.pid, Path(httpd.log))
        if not process.send(signal.SIGUSR1) or not handover.wait(PATIENCE):
            raise ControlError(f"has not read its configuration again; see {httpd.log}")
    _await_answer(httpd)
    return _say(httpd, "has read its configuration again")


def configtest(httpd: PrivateApache) -> int:
    """Let Apache check the configuration."""
    _check(httpd)
    return _say(httpd, "has a sound configuration")


def status(httpd: PrivateApache) -> int:
    """Return whether it runs, and whether it answers."""
    pid = running(httpd)
    if pid is None:
        stale = os.path.exists(httpd.pid_file)
        return _say(httpd, "is not running", STATUS_DEAD if stale else STATUS_STOPPED)
    silent = [port for port in httpd.ports if not answers(httpd, port)]
    if silent:
        what = f"runs (process {pid}), but port {silent[0]} is silent"
        return _say(httpd, what, STATUS_UNKNOWN)
    return _say(httpd, f"runs (process {pid}) and answers on {_addresses(httpd)}")


COMMANDS: dict[str, Callable[[PrivateApache], int]] = {
    command.__name__: command for command in (start, graceful, stop, restart, configtest, status)
}


def running(httpd: PrivateApache) -> int | None:
    """Return the process that the pid file names, if it is this site's Apache."""
    try:
        descriptor = open_plainly(Path(httpd.pid_file), os.O_RDONLY, 0)
        with open(descriptor, encoding="ascii") as stream:
            pid = int(stream.read(20))
    except (OSError, ValueError, ServerError):
        return None
    return pid if pid > 1 and _is_ours(httpd, pid) else None


def _is_ours(httpd: PrivateApache, pid: int) -> bool:
    process = Path("/proc", str(pid))
    try:
        words = process.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
        owner = process.stat().st_uid
    except OSError:
        return False
    program = os.path.basename(words[0])
    return (
        program in ("apache2", "httpd")
        and httpd.config in words
        and owner in (os.geteuid(), _account(httpd))
    )


def _account(httpd: PrivateApache) -> int | None:
    try:
        return pwd.getpwnam(httpd.user).pw_uid
    except KeyError:
        return None


@contextmanager
def _process(httpd: PrivateApache) -> Iterator[Handle | None]:
    """Yield a handle of the running Apache, which never refers to another process."""
    pid = running(httpd)
    if pid is None:
        yield None
        return
    with Handle(pid) as process:
        # The number may have been given away between the two lines above.
        yield process if _is_ours(httpd, pid) else None


def answers(httpd: PrivateApache, port: int) -> bool:
    """Return whether a server speaks on ``port`` of loopback.

    Apache itself answers ``OPTIONS *``, whatever becomes of the application.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            connection = (
                _unverified_context().wrap_socket(plain) if port == httpd.tls_port else plain
            )
            with connection:
                connection.sendall(b"OPTIONS * HTTP/1.0\r\n\r\n")
                return connection.recv(1) == b"H"
    except OSError:
        return False


def _unverified_context() -> ssl.SSLContext:
    """Return an SSL context that accepts any certificate: we only check that it answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _await_answer(httpd: PrivateApache) -> None:
    end = time.monotonic() + PATIENCE
    while not all(answers(httpd, port) for port in httpd.ports):
        if time.monotonic() > end:
            what = f"gave no answer within {PATIENCE:g} s{_limit(httpd)}"
            raise ControlError(f"{what}; see {httpd.log}")
        time.sleep(0.05)
    if running(httpd) is None:
        raise ControlError(f"has ended, and another program answers; see {httpd.log}")


def _limit(httpd: PrivateApache) -> str:
    """Return the limit named at the end of Apache's log; "" if there is none."""
    try:
        lines = read_plainly(Path(httpd.log)).decode(errors="replace").splitlines()[-10:]
    except (OSError, ServerError):
        return ""
    return next((found for line in lines if (found := errors.with_limit(line)[len(line) :])), "")


def _expect_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ControlError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from error


def _check(httpd: PrivateApache) -> None:
    folder = os.path.dirname(httpd.pid_file)
    if not os.access(folder, os.W_OK):
        raise ControlError(f"cannot write into {folder}; run this as {httpd.user}", FORBIDDEN)
    output = _apache(httpd, "-t")
    if output.returncode:
        reason = [line for line in output.stdout.splitlines() if "AH00558" not in line]
        raise ControlError("refused by apache2 -t: " + " ".join(reason), NOT_CONFIGURED)


def _apache(httpd: PrivateApache, *arguments: str) -> "subprocess.CompletedProcess[str]":
    names = ("apache2", "httpd")
    program = next(filter(None, (shutil.which(n, path=PROGRAM_PATH) for n in names)), None)
    if program is None:
        raise ControlError("found no apache2; apt-get install apache2", NOT_INSTALLED)
    kept = {name: os.environ[name] for name in ("TZ", "TMPDIR") if name in os.environ}
    # Logs and pid files are where that account may put links, so Apache must not
    # open them with root's rights.
    command = [program, "-f", httpd.config, *arguments]
    environment = {**kept, "PATH": PROGRAM_PATH, "LANG": "C.UTF-8"}
    try:
        return completed(command, environment, "/", account=httpd.user, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise ControlError(f"took longer than {PATIENCE:g} s; is a log of it a pipe?") from None


def _addresses(httpd: PrivateApache) -> str:
    return ", ".join(f"127.0.0.1:{port}" for port in httpd.ports)


def _say(httpd: PrivateApache, what: str, status: int = 0) -> int:
    progress.clear()
    print(f"{httpd.name}-httpd {what}")
    return status
