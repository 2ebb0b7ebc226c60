"""The state of a site: whether it is wanted, what can be seen of it, what ``status`` says."""

import errno
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pylonyard.server.settings import Settings
from pylonyard.system import atomic, listeners
from pylonyard.system.errors import LOOK_FIRST, ServerError
from pylonyard.system.processes import (
    children,
    command,
    descendants,
    foreground_marker,
    is_supervisor,
    marked,
    server_marker,
    shown,
    started,
    supervisor_marker,
)
from pylonyard.system.safe_files import make_directory, open_plainly

# Whether somebody wants the site up: what ``start`` and ``stop`` last said.


UP, DOWN = "up", "down"

FULL = (errno.ENOSPC, errno.EDQUOT)


def record(path: Path, intent: str) -> None:
    """Write ``intent``, unless it is said there; a link planted at ``path`` is replaced.

    On a full disk the note is written over: that needs no new space.
    """
    before = said(path)
    if before == intent:
        return
    try:
        _replace(path, intent)
    except OSError as error:
        if error.errno not in FULL or before not in (UP, DOWN):
            raise
        _write_over(path, intent)


def _replace(path: Path, intent: str) -> None:
    if path.is_dir() and not path.is_symlink():
        raise ServerError(f"{path} is a directory, not a file: {LOOK_FIRST}")
    make_directory(path.parent)
    atomic.write(path, f"{intent}\n".encode("ascii"), 0o600, durable=False)


def _write_over(path: Path, intent: str) -> None:
    descriptor = open_plainly(path, os.O_WRONLY, 0)
    try:
        # White space takes the place of what remains of a longer word.
        os.write(descriptor, f"{intent}\n".ljust(len(DOWN) + 1).encode("ascii"))
    finally:
        os.close(descriptor)


def withdraw(path: Path) -> None:
    """Have nobody want the site up; on a full disk, a file can still be removed."""
    try:
        record(path, DOWN)
    except OSError:
        path.unlink(missing_ok=True)


def is_wanted(path: Path) -> bool:
    """Whether ``start`` was said last; anything unclear means no."""
    return said(path) == UP


def said(path: Path) -> str:
    """Return what was said last; "" if that is unclear."""
    try:
        descriptor = open_plainly(path, os.O_RDONLY, 0)
    except (OSError, ServerError):
        return ""
    try:
        return os.read(descriptor, 16).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)


# What can be seen of a site: its processes, and whether it answers.


LONGEST_COMMAND = 200
"""Characters of somebody else's command line that are passed on."""

PAUSE = 0.1
"""Seconds between two looks."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The processes of a site at one moment."""

    supervisors: tuple[int, ...]
    servers: tuple[int, ...]
    foreground: tuple[int, ...]
    """Those of ``servers`` that somebody runs in a terminal."""

    @property
    def everything(self) -> tuple[int, ...]:
        return self.supervisors + self.servers

    @property
    def since(self) -> float | None:
        """When the longest-running server was started, in seconds since 1970."""
        times = [started(pid) for pid in self.servers or self.supervisors]
        return min((when for when in times if when is not None), default=None)


def look(settings: Settings, account: int | None = None) -> Sight:
    """Return what runs of a site.

    :param account: the number of who runs it, for root; by default, the caller's
    """
    known = (settings.identity, settings.places)
    supervisors = marked(supervisor_marker(*known), account=account)
    servers = marked(server_marker(*known), account=account)
    return Sight(
        supervisors=tuple(supervisors),
        # A title that a server writes over its environment takes the mark away.
        servers=tuple(servers or run_by(supervisors)),
        foreground=tuple(marked(foreground_marker(*known), account=account)),
    )


def run_by(supervisors: list[int]) -> list[int]:
    """Return what ``supervisors`` run, other than each other."""
    return [pid for pid in children(supervisors) if not is_supervisor(pid)]


def is_listening(settings: Settings) -> bool:
    """Whether one of our own processes listens on the site's address."""
    sockets = listeners.inodes(settings.host, settings.port)
    if not sockets:
        return False
    ours = look(settings)
    known = [*ours.servers, *descendants(list(ours.everything))]
    return bool(listeners.holders(sockets, known))


def holds(seen: Sight, sockets: set[int]) -> bool:
    """Whether a site has one of ``sockets``, be it that its supervisor alone has."""
    known = [*seen.everything, *descendants(list(seen.everything))]
    return bool(listeners.holders(sockets, known))


def is_answering(settings: Settings) -> bool:
    """Whether our own server, and no other, answers before it counts as hanging."""
    return is_listening(settings) and listeners.answers(
        settings.host, settings.port, settings.check_path, settings.hang_timeout
    )


def address_before(settings: Settings, seen: Sight) -> str:
    """Return the other address at which a server answers, which it had before a new release.

    Its supervisor mostly holds that as well: no port that the application opened besides.
    Empty if there is none.
    """
    if is_listening(settings):
        return ""
    servers = [*seen.servers, *descendants(list(seen.servers))]
    ours = listeners.of_processes(seen.supervisors) or listeners.of_processes(servers)
    for one in ours:
        place = replace(settings, host=str(one.address), port=one.port)
        if listeners.answers(place.host, place.port, place.check_path, place.hang_timeout):
            return place.address
    return ""


def is_outdated(settings: Settings, seen: Sight) -> bool:
    """Whether what runs was started before the current release became so."""
    try:
        flipped = settings.source.parents[1].lstat().st_mtime
    except OSError:
        return False
    return seen.since is not None and seen.since < flipped


def answer(settings: Settings) -> str:
    """Return in words whether the site answers, and if so, whether with an error."""
    place, timeout = (settings.host, settings.port), settings.hang_timeout
    found = listeners.status(*place, settings.check_path, timeout)
    if found is None:
        return f"{settings.address} does not answer"
    error = f" {found}, see bin/{settings.name} log" if found >= 500 else ""
    return f"{settings.address} answers{error}"


def stranger(settings: Settings) -> str | None:
    """Return who else has the site's port, as text; None if it is free."""
    sockets = listeners.inodes(settings.host, settings.port)
    if not sockets:
        return None
    for pid in listeners.holders(sockets):
        return f"process {pid} ({shown(command(pid), LONGEST_COMMAND)})"
    return "a process of another user"


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether ``condition`` came true within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(PAUSE)
    return True


RUNNING, DEAD, STOPPED, UNKNOWN = 0, 1, 3, 4
"""As LSB numbers them. UNKNOWN is a site that runs, but does not answer."""

STATES = {RUNNING: "running", DEAD: "dead", STOPPED: "stopped", UNKNOWN: "unknown"}

FORMAT = 1
"""The version of the object that tells all this to machines."""


def status(settings: Settings) -> tuple[int, str]:
    """Return the exit status and the line for the state of the site."""
    seen = look(settings)
    if not seen.everything:
        if is_wanted(wanted(settings)):
            return DEAD, f"dead, though it was started, see {settings.log}"
        return STOPPED, "stopped"
    if not seen.servers:
        return UNKNOWN, f"ended, is about to be started again, see {settings.log}"
    where = " in the foreground" if seen.foreground else ""
    what = f"running, process {seen.servers[0]}{where}{since(seen.since)}"
    if is_answering(settings):
        return RUNNING, f"{what}, {answer(settings)}"
    if before := address_before(settings, seen):
        return UNKNOWN, f"{what}, at {before} still, not at {settings.address}"
    return UNKNOWN, f"{what}, {settings.address} does not answer"


def as_json(settings: Settings) -> tuple[int, str]:
    """Return the exit status, and what :func:`status` tells as a JSON object."""
    code, text = status(settings)
    servers = look(settings).servers
    values = {"address": settings.address, "process": servers[0] if servers else None}
    return code, _object(settings.name, code, text, values)


def unknown(name: str, text: str) -> str:
    """Return the object of a site whose state cannot be told."""
    return _object(name, UNKNOWN, text, {"address": None, "process": None})


def _object(name: str, code: int, text: str, values: Mapping[str, object]) -> str:
    told = {"version": FORMAT, "site": name, "state": STATES[code], "status": code}
    return json.dumps({**told, **values, "text": text}, indent=2)


def since(when: float | None) -> str:
    if when is None:
        return ""
    moment = datetime.fromtimestamp(when)
    return f" since {moment.isoformat(' ', timespec='seconds')}"


def wanted(settings: Settings) -> Path:
    return settings.run / f"{settings.name}.wanted"
