"""The machine's Apache: find its modules and sites, check, reload, and read its logs."""

import fnmatch
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pylonyard.system.errors import ActivationError, CommandError, ServerError
from pylonyard.system.processes import Handle
from pylonyard.system.rootfs import Tree
from pylonyard.system.safe_files import open_plainly
from pylonyard.system.subprocesses import PROGRAM_PATH, run
from pylonyard.webservers import registry
from pylonyard.webservers.apache import FOLDER
from pylonyard.webservers.apache.graceful import Handover
from pylonyard.webservers.registry import Answering, PublicName, ServerState

RELOAD_PATIENCE = 15.0
"""Seconds to wait for a process with the new configuration."""

START_PATIENCE = 5.0
"""Seconds to wait for the process of an Apache that was started."""

_NOISE = re.compile(r"AH00558|Syntax OK|^Action '.*' failed|^The Apache error log may")
_PREFIX = re.compile(r"^\[[^\]]*\] (\[[^\]]*\] )*")


@dataclass(frozen=True)
class MachineApache:
    """Apache as ``tree``'s ``/etc/apache2`` configures it."""

    tree: Tree
    start_patience: float = START_PATIENCE

    @property
    def folder(self) -> Path:
        return self.tree.path(FOLDER)

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """Return the variables of ``envvars``, and those that lead Debian's tools to the tree."""
        script = '. "$0" >/dev/null 2>&1; env -0'
        base = {"PATH": PROGRAM_PATH, "LC_ALL": "C.UTF-8", **self.tools}
        words = ["sh", "-c", script, str(self.folder / "envvars")]
        output = os.fsdecode(subprocess.run(words, env=base, capture_output=True).stdout)
        pairs = (line.partition("=") for line in output.split("\0") if line)
        return {**base, **{name: value for name, _, value in pairs}}

    @property
    def tools(self) -> Mapping[str, str]:
        """Return the variables that lead ``a2enmod`` and the like to the tree."""
        if self.tree.is_machine:
            return {}
        return {
            "APACHE_CONFDIR": str(self.folder),
            "APACHE_STATE_DIRECTORY": str(self.tree.path("/var/lib/apache2")),
        }

    @property
    def pid(self) -> int | None:
        """Return the main process of Apache, if it runs."""
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
    def account(self) -> str:
        """Return the account of Apache, from ``envvars``."""
        text = self._text("envvars")
        pattern = r"(?m)^\s*(?:export\s+)?APACHE_RUN_USER=[\"']?([a-z_][a-z0-9_-]*)"
        found = re.findall(pattern, text)
        return found[-1] if found else "www-data"

    def _text(self, name: str) -> str:
        return self.tree.read(f"{FOLDER}/{name}").content.decode(errors="replace")

    def state(self) -> ServerState:
        return ServerState(
            user=self.account,
            is_installed=self.tree.read(f"{FOLDER}/apache2.conf").kind != "absent",
            is_running=self.pid is not None,
            available_sites=self._stems("sites-available", ".conf"),
            enabled_sites=self._stems("sites-enabled", ".conf"),
            available_modules=self._stems("mods-available", ".load"),
            enabled_modules=self._stems("mods-enabled", ".load"),
        )

    def _stems(self, folder: str, suffix: str) -> frozenset[str]:
        names = self.tree.names(f"{FOLDER}/{folder}")
        return frozenset(name[: -len(suffix)] for name in names if name.endswith(suffix))

    def implied_names(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Return all modules that ``a2enmod`` enables for the given ones."""
        if words[0] != "a2enmod":
            return ()
        found = list(words[1:])
        for module in found:
            needed = re.search(
                r"(?m)^# Depends:\s+(.+)", self._text(f"mods-available/{module}.load")
            )
            found += [name for name in needed[1].split() if name not in found] if needed else []
        return tuple(found[len(words) - 1 :])

    @property
    def log_folder(self) -> Path:
        """Return root's folder of Apache's logs, with those of the sites."""
        return Path(self.environment.get("APACHE_LOG_DIR", "/var/log/apache2"))

    @property
    def error_log(self) -> Path:
        return self.log_folder / "error.log"

    def site_log(self, name: str) -> Path:
        """Return the error log of a site's virtual host."""
        return self.log_folder / f"{name}-error.log"

    def apache(self, *arguments: str) -> str:
        """Run Apache's program on the tree's configuration; return its output.

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
        """Make Apache's run folder during the block, if there is none.

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

    def expect_names(self, names: Iterable[PublicName]) -> None:
        """Check that no other virtual host takes the requests for a site.

        :raises ActivationError: naming its file, and the ways out
        """
        hosts = virtual_hosts(self.apache("-S"))
        for one in names:
            if found := conflicting_host(hosts, one.name, f"{one.site}.conf", is_new=one.is_new):
                raise ActivationError(
                    f"{found.file} has {one.name} too, and Apache serves only one of the two: "
                    f"give {one.site} another server-name in [site], or have the other disabled "
                    f"while this is active: disable-sites = {found.file.stem} in [vhost]"
                )

    def first_answering(self, name: str, site: str) -> Answering | None:
        hosts = virtual_hosts(self.apache("-S"))
        answering = [host for host in hosts if host.answers_for(name)]
        ours = f"{site}.conf"
        own = (host for host in answering if host.file.name == ours)
        first = first_elsewhere(answering, ours) or next(own, None)
        return Answering(first.file, first.by(name)) if first else None

    def reload(self) -> None:
        """Reload or start Apache; return once it serves with its configuration.

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

    def logs(self, sites: Iterable[str]) -> "Logs":
        return Logs.now([self.error_log, *map(self.site_log, sites)])


def reason(output: str) -> str:
    """Return Apache's complaint in one line."""
    lines = [line.strip() for line in output.splitlines()]
    telling = [line for line in lines if line and not _NOISE.search(line)]
    return " ".join(telling[:3])


@dataclass(frozen=True)
class Logs:
    """Positions in logs, from which on new lines are read."""

    ends: Mapping[Path, int]

    @classmethod
    def now(cls, paths: list[Path]) -> "Logs":
        return cls({path: _size(path) for path in paths})

    def message(self) -> str:
        """Return the most telling complaint since then, in one line."""
        found = [line for path, end in self.ends.items() for line in complaints(path, end)]
        # A timeout, or the end of a process, is only reported if there is no better cause.
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
        # The application's account may have put a link there, or a pipe.
        descriptor = open_plainly(path, os.O_RDONLY, 0)
    except (OSError, ServerError):
        return []
    with open(descriptor, "rb") as stream:
        stream.seek(max(start, stream.seek(0, os.SEEK_END) - longest))
        text = stream.read(longest).decode(errors="replace")
    return [_PREFIX.sub("", line).strip() for line in text.splitlines() if _COMPLAINT.search(line)]


# The virtual hosts that ``apache2ctl -S`` lists, in the order in which Apache looks.


_SHARED = re.compile(r"(\S+:(?:\d+|\*))\s+is a NameVirtualHost")
_HOST = re.compile(r"(?:\s+port \S+ namevhost|(\S+:(?:\d+|\*)))\s+(\S+)\s+\((.+):\d+\)")
_ALIAS = re.compile(r"\s+(?:wild )?alias (\S+)")


@dataclass(frozen=True)
class VirtualHost:
    """``place`` is an address and a port; several hosts may share it."""

    place: tuple[str, str]
    name: str
    file: Path
    aliases: list[str] = field(default_factory=list)
    """Its other names, ``*`` and ``?`` in them."""

    def answers_for(self, name: str) -> bool:
        return bool(self.by(name))

    def by(self, name: str) -> str:
        """Return the directive by which this host answers for ``name``, if it does."""
        wanted = name.lower()
        if self.name.lower() == wanted:
            return "ServerName"
        is_alias = any(fnmatch.fnmatchcase(wanted, alias.lower()) for alias in self.aliases)
        return "ServerAlias" if is_alias else ""


def virtual_hosts(listed: str) -> list[VirtualHost]:
    """Return the virtual hosts in Apache's list.

    Of a host that is alone at its place it prints no alias; none is asked for there.
    """
    shared, hosts = "", list[VirtualHost]()
    for line in map(str.rstrip, listed.splitlines()):
        if match := _SHARED.fullmatch(line):
            shared = match[1]
        elif match := _HOST.fullmatch(line):
            address, _, port = (match[1] or shared).rpartition(":")
            hosts.append(VirtualHost((address, port), match[2], Path(match[3])))
        elif hosts and (match := _ALIAS.fullmatch(line)):
            hosts[-1].aliases.append(match[1])
    return hosts


def first_elsewhere(answering: Sequence[VirtualHost], ours: str) -> VirtualHost | None:
    """Return the host that answers first at an address and port of the file ``ours``."""
    places = {host.place for host in answering if host.file.name == ours}
    # A host at this address is asked before the hosts at all addresses.
    shared = {port for address, port in places if address == "*"}
    firsts = {host.place: host for host in reversed(answering)}
    for place, first in firsts.items():
        is_where_ours_is = not places or place in places or place[1] in shared
        if is_where_ours_is and first.file.name != ours:
            return first
    return None


def conflicting_host(
    hosts: Sequence[VirtualHost], name: str, ours: str, *, is_new: bool
) -> VirtualHost | None:
    """Return the host of another file that takes requests for ``name`` from ``ours``.

    :param is_new: whether that is a new name of ours; then as well who loses them to it
    """
    answering = [host for host in hosts if host.answers_for(name)]
    places = {host.place for host in answering if host.file.name == ours}
    if not places:
        return None
    if found := first_elsewhere(answering, ours):
        return found
    others = (host for host in answering if host.file.name != ours and host.place in places)
    return next((host for host in others if is_new and host.by(name) == "ServerName"), None)


Machine: Callable[[Tree], registry.Machine] = MachineApache
"""The name that the class of every web server has."""
