"""Find our own processes by their marks, and send signals that cannot reach others.

A pid may be reused, and a pid file may be wrong.  The environment that a process was started with
tells for sure.  A zombie has none: it is not running.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from pylonyard.system.errors import ServerError

PROC = Path("/proc")


@dataclass(frozen=True)
class Marker:
    """A variable that only the processes of one site have in their environment."""

    variable: str
    identity: str
    """The sandbox, and the site in it: ``/srv/shop:shop``."""
    places: tuple[Path, ...] = ()
    """Folders by which processes are found that were started before the sandbox was moved."""

    def is_on(self, pid: int, proc: Path = PROC) -> bool:
        """Return whether ``pid`` runs, and is marked; a stranger may know the mark."""
        found = environment(pid, proc)
        if os.fsencode(f"{self.variable}={self.identity}") in found:
            return True
        before = os.fsencode(f"{self.variable}=")
        after = os.fsencode(f":{self.identity.rpartition(':')[2]}")
        is_namesake = any(e.startswith(before) and e.endswith(after) for e in found)
        return is_namesake and self._stands(pid, proc)

    def _stands(self, pid: int, proc: Path) -> bool:
        """Return whether ``pid`` works in, or prints to, one of the places.

        The kernel tells the path that a folder or an open file has now: a sandbox that was
        moved is known by that, and a copy of it is not.
        """
        for name in ("cwd", "fd/1", "fd/2"):
            with suppress(OSError):
                if Path(os.readlink(proc / str(pid) / name)) in self.places:
                    return True
        return False

    def matches(self, pid: int, proc: Path = PROC, account: int | None = None) -> bool:
        """Return whether ``pid`` runs, is marked, and is an account's (default: the caller's).

        Only root can read a stranger's environment: that it is marked, too, would
        mean no more than that the stranger knows the mark.
        """
        whose = os.getuid() if account is None else account
        return self.is_on(pid, proc) and owner(pid, proc) == whose


SUPERVISOR = "PYLONYARD_SUPERVISOR"


def supervisor_marker(identity: str, places: tuple[Path, ...] = ()) -> Marker:
    return Marker(SUPERVISOR, identity, places)


def is_supervisor(pid: int, proc: Path = PROC) -> bool:
    """Return whether ``pid`` is marked as the supervisor of a site, whichever it is."""
    return any(entry.startswith(f"{SUPERVISOR}=".encode()) for entry in environment(pid, proc))


def server_marker(identity: str, places: tuple[Path, ...] = ()) -> Marker:
    return Marker("PYLONYARD_SERVER", identity, places)


def foreground_marker(identity: str, places: tuple[Path, ...] = ()) -> Marker:
    return Marker("PYLONYARD_FOREGROUND", identity, places)


def environment(pid: int, proc: Path = PROC) -> list[bytes]:
    """Return the environment that ``pid`` was started with; {} if we cannot read it."""
    try:
        return (proc / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def pids(proc: Path = PROC) -> list[int]:
    """Return every process there is to see.

    :raises ServerError: without /proc no process can be recognised
    """
    found = [int(entry) for entry in os.listdir(proc) if entry.isdigit()]
    if not found:
        raise ServerError(f"{proc} is not mounted: processes cannot be identified")
    return sorted(found)


def marked(
    marker: Marker,
    proc: Path = PROC,
    candidates: Iterable[int] | None = None,
    account: int | None = None,
) -> list[int]:
    """Return the processes among ``candidates`` with ``marker``, without our own.

    :param account: whose; by default, the caller's
    """
    us, looked_at = os.getpid(), pids(proc) if candidates is None else candidates
    return [pid for pid in looked_at if pid != us and marker.matches(pid, proc, account)]


def status(pid: int, proc: Path = PROC) -> dict[str, str]:
    """Return the fields of /proc/<pid>/status; {} if the process is gone."""
    try:
        text = (proc / str(pid) / "status").read_text(errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in lines}


def owner(pid: int, proc: Path = PROC) -> int | None:
    """Return the real user id of ``pid``, None if it is gone."""
    found = status(pid, proc).get("Uid", "").split()
    return int(found[0]) if found else None


def parent(pid: int, proc: Path = PROC) -> int:
    """Return the parent of ``pid``, 0 if either is gone."""
    return int(status(pid, proc).get("PPid", "0"))


def descendants(ancestors: list[int], proc: Path = PROC) -> list[int]:
    """Return the children of ``ancestors``, and their children, at any depth.

    They may have cleared their environment, or written a title over it. A supervisor
    that one of them started is its own, and so is what that has started.
    """
    parents = {pid: parent(pid, proc) for pid in pids(proc)}
    found, known = [], set(ancestors)
    grown = True
    while grown:
        grown_by = [pid for pid, p in parents.items() if p in known and pid not in known]
        new = [pid for pid in grown_by if not is_supervisor(pid, proc)]
        found += new
        known.update(new)
        grown = bool(new)
    return found


def send(pid: int, number: signal.Signals, marker: Marker) -> bool:
    """Send a signal to ``pid`` if it is marked; return whether it was sent.

    The descriptor keeps its process: once the mark is seen through it, the number
    cannot have passed to another process before the signal is sent.
    """
    with Handle(pid) as handle:
        return marker.matches(pid) and handle.send(number)


class Handle:
    """A handle of a process, which never refers to another one with the same number."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self.descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self.descriptor = -1

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def wait(self, seconds: float) -> bool:
        """Wait until the process has ended, reaped or not; return whether it has.

        pidfd_open(2): its descriptor can be read from then on.
        """
        if self.descriptor < 0:
            return True
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(max(0, seconds) * 1000))

    def send(self, number: signal.Signals) -> bool:
        """Send ``number``; return False if the process has ended, or is another account's."""
        if self.descriptor < 0:
            return False
        try:
            signal.pidfd_send_signal(self.descriptor, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


KILL_TIMEOUT = 5.0
"""Seconds to wait for a killed process to end."""


def kill_trees(find: Callable[[], Iterable[int]]) -> None:
    """Kill the processes that ``find`` returns, with all descendants; wait for them to end.

    ``find`` is called again after the handles were opened, so that no handle can be
    that of a later process with the same number.
    """

    def tree() -> set[int]:
        roots = list(find())
        return {*roots, *descendants(roots)} - {os.getpid()}

    with ExitStack() as opened:
        handles = [opened.enter_context(Handle(pid)) for pid in tree()]
        found = tree()
        killed = [one for one in handles if one.pid in found and one.send(signal.SIGKILL)]
        deadline = time.monotonic() + KILL_TIMEOUT
        for one in killed:
            one.wait(deadline - time.monotonic())


def children(parents: Collection[int], proc: Path = PROC) -> list[int]:
    """Return the children of ``parents``; those of ours keep their numbers until we reap them."""
    return [pid for pid in pids(proc) if parent(pid, proc) in parents] if parents else []


def started(pid: int, proc: Path = PROC) -> float | None:
    """Return when ``pid`` was started, in seconds since 1970; None if it is gone."""
    try:
        # The second field is a name in parentheses, and may hold any character.
        fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    since_boot = int(fields[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot


def arguments(pid: int, proc: Path = PROC) -> list[str]:
    """Return the words of the command line of ``pid``, none if it is gone."""
    try:
        line = (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return []
    return line.split("\0")


def command(pid: int, proc: Path = PROC) -> str:
    """Return the command line of ``pid``, or its short name, or nothing."""
    return " ".join(arguments(pid, proc)).strip() or status(pid, proc).get("Name", "")


def shortened(text: str, longest: int) -> str:
    """Return another program's ``text`` without control characters, shortened."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."
