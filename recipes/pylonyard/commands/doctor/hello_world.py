"""Serve a Hello World in place of an application that fails, to see which is at fault."""

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pylonyard.activation.host.visits import request
from pylonyard.commands.doctor.check import Finding, Subject, bad, good, unknown
from pylonyard.system import listeners, safe_files
from pylonyard.system.errors import ActivationError, ServerError
from pylonyard.system.subprocesses import PROGRAM_PATH, as_account, clean_environment

ANSWER_TIMEOUT = 15.0
"""Seconds within which a Hello World has to answer."""

LOG_BYTES_READ = 8192
"""Bytes at the end of a log that are read."""

HELLO = """\
def application(environ, start_response):
    output = b'Hello World!'
    start_response('200 OK', [('Content-type', 'text/plain'),
                              ('Content-Length', str(len(output)))])
    return [output]


def factory(global_conf, **options):
    return application
"""

INI = """\
[app:main]
paste.app_factory = hello:factory

[server:main]
use = {server}
host = 127.0.0.1
port = {port}
"""


def hello(subject: Subject) -> Iterator[Finding]:
    """Serve a Hello World as the application is served, if the application fails."""
    check = "hello"
    if all(subject.answers.values()):
        why = "the application itself answers" if subject.answers else "nothing asked has failed"
        yield unknown(check, f"not needed: {why}")
        return
    if subject.owner.uid < 0:
        yield unknown(check, f"there is no account {subject.site.user} to run it")
        return
    try:
        with _cleaning_up_on_signals(), _scratch_folder(subject) as folder:
            why = _failure(subject, folder)
    except OSError as error:
        yield unknown(check, f"{error.filename}: {error.strerror}")
        return
    if why:
        yield bad(
            check,
            f"a Hello World fails as well: {why}",
            "the fault is in the server or the environment, not in the application: bin/buildout",
        )
    elif _is_listening(subject):
        yield good(check, "a Hello World works here: the fault is in the application, or its data")
    else:
        yield good(
            check,
            "a Hello World works here: the environment is fine; see the other lines",
        )


def _is_listening(subject: Subject) -> bool:
    """Return whether something listens on all ports of the site."""
    if subject.site.has_server:
        host, ports = subject.settings.host, [subject.settings.port]
    else:
        host, places = subject.webserver_address
        ports = [port for port, _ in places]
    try:
        return bool(ports) and all(listeners.inodes(host, port) for port in ports)
    except ServerError:
        return False


@contextmanager
def _cleaning_up_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, so that everything is cleaned up."""

    def leave(number: int, frame: object) -> None:
        for each in before:
            # A second signal would interrupt the clean-up.
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    ending = (signal.SIGTERM, signal.SIGHUP)
    before = [number for number in ending if signal.getsignal(number) == signal.SIG_DFL]
    for number in before:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in before:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _scratch_folder(subject: Subject) -> Iterator[Path]:
    """Make a scratch folder; the site's account can write only to ``run`` in it."""
    folder = Path(tempfile.mkdtemp(prefix="hello-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        (folder / "run").mkdir()
        if os.geteuid() == 0:
            entry = pwd.getpwnam(subject.site.user)
            os.chown(folder / "run", entry.pw_uid, entry.pw_gid)
        for name in ("hello.py", "hello.wsgi"):
            (folder / name).write_text(HELLO, encoding="utf-8")
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder in which the account may have nested thousands of others.

    Python's own function is recursive, and would fail.
    """
    words = ["rm", "-rf", "--one-file-system", "--", os.fspath(folder)]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(words, env={"PATH": PROGRAM_PATH}, capture_output=True, timeout=60)


def _failure(subject: Subject, folder: Path) -> str:
    """Return why a Hello World does not work; empty if it does."""
    port = _free_port()
    if subject.site.has_server:
        words = _with_paster(subject, folder, port)
    else:
        words = subject.webserver.hello(subject, folder, port)
    log = folder / "output.log"
    log.touch()
    environment = clean_environment({"PYTHONPATH": str(folder), "HOME": str(folder / "run")})
    with open(log, "wb") as stream:
        try:
            process = subprocess.Popen(
                # It ends when we end, even if we are killed.
                ["setpriv", "--pdeathsig", "TERM", *(os.fspath(word) for word in words)],
                env=environment,
                cwd=folder / "run",
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                **{"start_new_session": True, **as_account(subject.site.user)},
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"{words[0]}: {getattr(error, 'strerror', None) or error}"
    try:
        return "" if _is_answered(process, port) else _last_output(folder) or "it does not answer"
    finally:
        _end(process)


def _with_paster(subject: Subject, folder: Path, port: int) -> list[str | Path]:
    server = "egg:Paste#http"
    if subject.ini is not None:
        server = subject.ini.get("server:main", "use", fallback=server)
    (folder / "hello.ini").write_text(INI.format(server=server, port=port), encoding="utf-8")
    return [subject.settings.paster, "serve", folder / "hello.ini"]


def _is_answered(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Return whether the Hello World answers with status 200."""
    deadline = time.monotonic() + ANSWER_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ActivationError):
            return request("127.0.0.1", port, "localhost", timeout=5) == 200
        time.sleep(0.1)
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_output(folder: Path) -> str:
    """Return the last line of output, or of a web server's log."""
    found = ""
    for name in ("output.log", "run/error.log"):
        # The account may have made a link, a pipe or a hard link there.
        with contextlib.suppress(OSError, ServerError):
            text, status = safe_files.read_tail(folder / name, LOG_BYTES_READ)
            lines = [line.strip() for line in text.replace("\0", "").splitlines()]
            if status.st_nlink == 1 and any(lines):
                found = [line for line in lines if line][-1]
    return found[:200]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
