"""The machine's Apache: checked, reloaded, asked at the address that visitors use."""

import http.client
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pylonyard.activation.host.facts import APACHE
from pylonyard.activation.steps import Ask, Name
from pylonyard.releases.contents import Site
from pylonyard.system import listeners
from pylonyard.system.errors import ActivationError, CommandError
from pylonyard.system.processes import Handle
from pylonyard.system.rootfs import Tree
from pylonyard.system.subprocesses import PROGRAM_PATH, run
from pylonyard.webservers.apache.graceful import Handover
from pylonyard.webservers.apache.virtual_hosts import rival, virtual_hosts

RELOAD_PATIENCE = 15.0
"""Seconds until a process of the new configuration is there."""

START_PATIENCE = 5.0
"""Seconds until there is a process of an Apache that was started."""

REQUEST_PATIENCE = 60.0
"""Seconds until the first request has to be answered."""

_NOISE = re.compile(r"AH00558|Syntax OK|^Action '.*' failed|^The Apache error log may")
_PREFIX = re.compile(r"^\[[^\]]*\] (\[[^\]]*\] )*")


@dataclass(frozen=True)
class Httpd:
    """Apache as ``tree``'s ``/etc/apache2`` configures it."""

    tree: Tree
    start_patience: float = START_PATIENCE

    @property
    def folder(self) -> Path:
        return self.tree.path(APACHE)

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """What ``envvars`` sets, and what leads Debian's tools to the tree."""
        script = '. "$0" >/dev/null 2>&1; env -0'
        base = {"PATH": PROGRAM_PATH, "LC_ALL": "C.UTF-8", **self.tools}
        words = ["sh", "-c", script, str(self.folder / "envvars")]
        output = os.fsdecode(subprocess.run(words, env=base, capture_output=True).stdout)
        pairs = (line.partition("=") for line in output.split("\0") if line)
        return {**base, **{name: value for name, _, value in pairs}}

    @property
    def tools(self) -> Mapping[str, str]:
        """What leads ``a2enmod``, ``update-rc.d`` and their like to the tree."""
        if self.tree.is_machine:
            return {}
        return {
            "APACHE_CONFDIR": str(self.folder),
            "APACHE_STATE_DIRECTORY": str(self.tree.path("/var/lib/apache2")),
            "DPKG_ROOT": str(self.tree.root),
        }

    @property
    def pid(self) -> int | None:
        """The process of Apache itself, if it runs."""
        try:
            text = Path(self.environment.get("APACHE_PID_FILE", "")).read_text(encoding="ascii")
            found = int(text)
            command = Path("/proc", str(found), "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        is_apache = os.path.basename(command[0]) in (b"apache2", b"httpd")
        # A copy of envvars names the pid file of the machine's own Apache.
        is_ours = self.tree.is_machine or os.fsencode(self.folder) in command
        return found if is_apache and is_ours else None

    @property
    def log_folder(self) -> Path:
        """Root's folder, in which Apache keeps its logs, those of the sites among them."""
        return Path(self.environment.get("APACHE_LOG_DIR", "/var/log/apache2"))

    @property
    def error_log(self) -> Path:
        return self.log_folder / "error.log"

    def site_log(self, name: str) -> Path:
        """Return the error log of a site's virtual host."""
        return self.log_folder / f"{name}-error.log"

    def apache(self, *arguments: str) -> str:
        """Run Apache's program on the tree's configuration; return what it prints.

        :raises ActivationError: with Apache's own words
        """
        command = ["apache2", "-d", str(self.folder), "-f", "apache2.conf", *arguments]
        with self._run_folder() as more:
            environment = {**self.environment, **more}
            try:
                return run(command, "Apache", environment=environment, reason=reason)
            except CommandError as error:
                raise ActivationError(error.reason) from error

    @contextmanager
    def _run_folder(self) -> Iterator[Mapping[str, str]]:
        """Give a folder for what runs, if there is none.

        ``/run`` is empty after each boot, and Apache's first start makes its own there;
        until then it takes its configuration for wrong.
        """
        name = "APACHE_RUN_DIR"
        if not self.tree.is_machine or os.path.isdir(self.environment.get(name, "/")):
            yield {}
            return
        with tempfile.TemporaryDirectory(prefix="pylonyard-") as folder:
            yield {name: folder}

    def test(self) -> None:
        self.apache("-t")

    def expect_names(self, names: Iterable[Name]) -> None:
        """Check that no other virtual host has the visitors of a site.

        :raises ActivationError: naming its file, and the ways out
        """
        hosts = virtual_hosts(self.apache("-S"))
        for one in names:
            if found := rival(hosts, one.name, f"{one.site}.conf", is_new=one.is_new):
                raise ActivationError(
                    f"{found.file} has {one.name} as well, and Apache serves one of the two alone: "
                    f"give {one.site} another server-name in [site], or have the other disabled "
                    f"while this is active: disable-sites = {found.file.stem} in [vhost]"
                )

    def reload(self) -> None:
        """Have Apache read its configuration again, or start; return once it serves by it.

        :raises ActivationError: if it does not run afterwards
        """
        process = self.pid
        if process is None:
            self._start()
            self._expect_process()
            return
        handover = Handover(process, self.error_log)
        if self.tree.is_machine:
            run(["apache2ctl", "graceful"], "apache2ctl graceful", reason=reason)
        else:
            self._signal(process, signal.SIGUSR1)
        if not handover.wait(RELOAD_PATIENCE):
            if self.pid != process:
                raise ActivationError("Apache has ended at the reload")
            raise ActivationError(f"Apache has not reloaded in {RELOAD_PATIENCE:g} s")

    def stop(self) -> None:
        """Stop an Apache that we started."""
        if self.tree.is_machine:
            run(["service", "apache2", "stop"], "service apache2 stop")
        elif process := self.pid:
            self._signal(process, signal.SIGTERM)

    def _signal(self, process: int, number: signal.Signals) -> None:
        with Handle(process) as handle:
            if self.pid == process:
                handle.send(number)

    def _start(self) -> None:
        if not self.tree.is_machine:
            self.apache("-k", "start")
            return
        try:
            run(["service", "apache2", "start"], "service apache2 start")
        except CommandError as error:
            raise ActivationError(str(error)) from error

    def _expect_process(self) -> None:
        # Debian's init script says nothing, and exits 0, if another has the port.
        deadline = time.monotonic() + self.start_patience
        while self.pid is None:
            if time.monotonic() > deadline:
                raise ActivationError(
                    f"Apache does not run {self.start_patience:g} s after it was started"
                )
            time.sleep(0.02)

    def ask(self, step: Ask) -> None:
        """Make the first request to a site.

        :raises ActivationError: if there is no answer, or one of status 5xx
        """
        name, address = step.site.server_name, step.site.listen_address
        status = request(address, step.port, name, secure=step.is_secure)
        if status >= 500:
            raise ActivationError(f"{step.url(name)} answers {status}")


def request(
    address: str,
    port: int,
    host: str,
    *,
    secure: bool = False,
    path: str = "/",
    timeout: float = REQUEST_PATIENCE,
) -> int:
    """Return the status of the answer to ``GET path`` for ``host``.

    :param timeout: in seconds, however the answer trickles
    :raises ActivationError: if there is none
    """
    kind: type[http.client.HTTPConnection] = http.client.HTTPConnection
    connection = kind(address, port, timeout=timeout)
    if secure:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
    try:
        headers = {"Host": host, "Connection": "close"}
        return listeners.asked(connection, path, headers, timeout)
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or error.__class__.__name__
        raise ActivationError(f"{address}:{port} does not answer: {why}") from error
    finally:
        connection.close()


def reason(output: str) -> str:
    """Return Apache's complaint in one line."""
    lines = [line.strip() for line in output.splitlines()]
    telling = [line for line in lines if line and not _NOISE.search(line)]
    return " ".join(telling[:3])


@dataclass(frozen=True)
class Logs:
    """Places in logs, from which on something may be written."""

    ends: Mapping[Path, int]

    @classmethod
    def now(cls, paths: list[Path]) -> "Logs":
        return cls({path: _size(path) for path in paths})

    def told(self) -> str:
        """Return the complaint that tells most of what has been written since, in one line."""
        found = [line for path, end in self.ends.items() for line in complaints(path, end)]
        # What timed out, or ended, is told after what made it so.
        causes = [line for line in found if _CAUSE.search(line)]
        return (causes or found or [""])[-1]


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


_CAUSE = re.compile(
    r"Permission denied|No such file or directory|Read-only file system|No space left"
    r"|Address already in use|^[A-Za-z_.]*(Error|Exception|Exit)\b"
)
_COMPLAINT = re.compile(r"[:\[](error|crit|alert|emerg)\]")


def complaints(path: Path, start: int = 0, longest: int = 262144) -> list[str]:
    """Return the errors in Apache's log ``path`` from byte ``start`` on."""
    try:
        # The application's account may have put a link there.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return []
    with open(descriptor, "rb") as stream:
        stream.seek(max(start, stream.seek(0, os.SEEK_END) - longest))
        text = stream.read(longest).decode(errors="replace")
    return [_PREFIX.sub("", line).strip() for line in text.splitlines() if _COMPLAINT.search(line)]


# The address at which visitors find a site, visited just now: what an activation ends with.


VISIT_PATIENCE = 15.0
"""Seconds that an answer may take: the site answered once already."""

LOOK_UP_PATIENCE = 4.0
"""Seconds that a name server may take."""

_USUAL = {False: 80, True: 443}

Visit = Callable[[Site], int]
Look = Callable[[str], list[str]]


def address_told(site: Site, visit: Visit | None = None, look: Look | None = None) -> Iterator[str]:
    """Yield the address to open, and what is in the way of those who do.

    :param visit: returns the status that the site answers with
    :param look: returns the addresses that a name leads to
    """
    url = url_of(site)
    try:
        status = (visit or visited)(site)
    except ActivationError as error:
        yield f"{site.name}: {url} does not answer: {error}; bin/pylonyard doctor tells why"
        return
    if status >= 500:
        yield f"{site.name}: {url} answers {status}; bin/pylonyard doctor tells why"
        return
    leads = (look or addresses)(site.server_name) if site.mode else ["127.0.0.1"]
    if any(map(is_here, leads)):
        yield f"{site.name}: open {url} (visited just now: it answers {status})"
        return
    where = f"leads to {', '.join(leads)}, not to this machine" if leads else "leads nowhere yet"
    yield (
        f"{site.name}: answers {status} as {url}, but the name {where}: see to that in DNS, "
        "or set server-name in [site]"
    )
    yield f"{site.name}: until then, on this machine: {_command(site)}"


def url_of(site: Site) -> str:
    """Return what a visitor types."""
    if not site.mode:
        return f"http://{site.host}:{site.port}/"
    port, is_secure = site.places[-1]
    end = "" if port == _USUAL[is_secure] else f":{port}"
    return f"{'https' if is_secure else 'http'}://{site.server_name}{end}/"


def visited(site: Site) -> int:
    """Return the status of the answer to the visitor's first request.

    :raises ActivationError: if there is none
    """
    if not site.mode:
        return request(site.host, site.port, site.host, timeout=VISIT_PATIENCE)
    port, is_secure = site.places[-1]
    address, name = site.listen_address, site.server_name
    return request(address, port, name, secure=is_secure, timeout=VISIT_PATIENCE)


def _command(site: Site) -> str:
    port, _ = site.places[-1]
    there = f"{site.server_name}:{port}:{site.listen_address}"
    return shlex.join(["curl", "--include", "--resolve", there, url_of(site)])


def addresses(name: str) -> list[str]:
    """Return the addresses that ``name`` leads to, none if that is not known in time."""
    found: list[str] = []

    def look() -> None:
        try:
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(LOOK_UP_PATIENCE)
    return list(found)


def is_here(address: str) -> bool:
    """Tell whether an address is this machine's: a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind((address, 0))
    except OSError:
        return False
    return True
