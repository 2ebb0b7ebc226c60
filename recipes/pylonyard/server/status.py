"""Find out and report the state of a site: if it should be up, its processes, its answer."""

import errno
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pylonyard.server.settings import Settings
from pylonyard.system import listeners
from pylonyard.system.errors import LOOK_FIRST, ServerError
from pylonyard.system.processes import (
    children,
    command,
    descendants,
    foreground_marker,
    is_supervisor,
    marked,
    server_marker,
    shortened,
    started,
    supervisor_marker,
)
from pylonyard.system.safe_files import make_directory, open_plainly

# The note of ``start`` and ``stop``: should the site be up?


UP, DOWN = "up", "down"

FULL = (errno.ENOSPC, errno.EDQUOT)


def write_intent(path: Path, intent: str) -> None:
    """Write ``intent`` to the note at ``path``; replace a link that was planted there.

    On a full disk, overwrite the note: that needs no new space.
    """
    before = read_intent(path)
    if before == intent:
        return
    try:
        _replace_note(path, intent)
    except OSError as error:
        if error.errno not in FULL or before not in (UP, DOWN):
            raise
        _overwrite_note(path, intent)


def _replace_note(path: Path, intent: str) -> None:
    if path.is_dir() and not path.is_symlink():
        raise ServerError(f"{path} is a directory, not a file: {LOOK_FIRST}")
    # Imported here: a status writes nothing.
    from pylonyard.system import atomic

    make_directory(path.parent)
    atomic.write(path, f"{intent}\n".encode("ascii"), 0o600, durable=False)


def _overwrite_note(path: Path, intent: str) -> None:
    descriptor = open_plainly(path, os.O_WRONLY, 0)
    try:
        # White space overwrites the rest of a longer word.
        os.write(descriptor, f"{intent}\n".ljust(len(DOWN) + 1).encode("ascii"))
    finally:
        os.close(descriptor)


def write_down(path: Path) -> None:
    """Record that the site should be down; on a full disk, remove the note."""
    try:
        write_intent(path, DOWN)
    except OSError:
        path.unlink(missing_ok=True)


def is_wanted_up(path: Path) -> bool:
    """Return whether the site should be up; an unreadable note means no."""
    return read_intent(path) == UP


def read_intent(path: Path) -> str:
    """Return the note at ``path``: "up", "down", or "" if it cannot be read."""
    try:
        descriptor = open_plainly(path, os.O_RDONLY, 0)
    except (OSError, ServerError):
        return ""
    try:
        return os.read(descriptor, 16).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)


# The processes of a site, and its answer.


LONGEST_COMMAND = 200
"""Characters of another program's command line that are shown."""

PAUSE = 0.1
"""Seconds between two checks."""


@dataclass(frozen=True, kw_only=True)
class SiteProcesses:
    """The processes of a site at one moment."""

    supervisors: tuple[int, ...]
    servers: tuple[int, ...]
    foreground: tuple[int, ...]
    """Those of ``servers`` that run in a terminal."""

    @property
    def all(self) -> tuple[int, ...]:
        return self.supervisors + self.servers

    @property
    def started_at(self) -> float | None:
        """Return when the longest-running server was started, in seconds since 1970."""
        times = [started(pid) for pid in self.servers or self.supervisors]
        return min((when for when in times if when is not None), default=None)


def find_processes(settings: Settings, account: int | None = None) -> SiteProcesses:
    """Return the processes of a site.

    :param account: number of the account that they run as; by default, the caller's
    """
    known = (settings.identity, settings.own_places)
    supervisors = marked(supervisor_marker(*known), account=account)
    servers = marked(server_marker(*known), account=account)
    return SiteProcesses(
        supervisors=tuple(supervisors),
        # A server that sets its process title may overwrite its environment, and our mark.
        servers=tuple(servers or children_of(supervisors)),
        foreground=tuple(marked(foreground_marker(*known), account=account)),
    )


def children_of(supervisors: list[int]) -> list[int]:
    """Return the children of ``supervisors`` that are no supervisors."""
    return [pid for pid in children(supervisors) if not is_supervisor(pid)]


def is_listening(settings: Settings) -> bool:
    """Return whether a process of the site listens on its address."""
    sockets = listeners.inodes(settings.host, settings.port)
    if not sockets:
        return False
    ours = find_processes(settings)
    known = [*ours.servers, *descendants(list(ours.all))]
    return bool(listeners.holders(sockets, known))


def holds_any(seen: SiteProcesses, sockets: set[int]) -> bool:
    """Return whether a process of the site has one of ``sockets`` open."""
    known = [*seen.all, *descendants(list(seen.all))]
    return bool(listeners.holders(sockets, known))


def is_answering(settings: Settings) -> bool:
    """Return whether the site's own server answers within ``hang_timeout`` seconds."""
    return is_listening(settings) and listeners.answers(
        settings.host, settings.port, settings.check_path, settings.hang_timeout
    )


def previous_address(settings: Settings, seen: SiteProcesses) -> str:
    """Return the address at which a server of an earlier release still answers.

    Empty if there is none. The supervisor's sockets are tried first: the application may
    have opened other ports.
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


def is_outdated(settings: Settings, seen: SiteProcesses) -> bool:
    """Return whether the site was started before the current release became current."""
    try:
        flipped = settings.source.parents[1].lstat().st_mtime
    except OSError:
        return False
    return seen.started_at is not None and seen.started_at < flipped


def answer(settings: Settings) -> str:
    """Return a phrase that says if the site answers, and with which error status."""
    place, timeout = (settings.host, settings.port), settings.hang_timeout
    found = listeners.status(*place, settings.check_path, timeout)
    if found is None:
        return f"{settings.address} does not answer"
    error = f" {found}, see bin/{settings.name} log" if found >= 500 else ""
    return f"{settings.address} answers{error}"


def port_holder(settings: Settings) -> str | None:
    """Describe the process that listens on the site's port; None if the port is free."""
    sockets = listeners.inodes(settings.host, settings.port)
    if not sockets:
        return None
    for pid in listeners.holders(sockets):
        return f"process {pid} ({shortened(command(pid), LONGEST_COMMAND)})"
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
"""The exit statuses of LSB. UNKNOWN is a site that runs, but does not answer."""

STATES = {RUNNING: "running", DEAD: "dead", STOPPED: "stopped", UNKNOWN: "unknown"}

FORMAT = 1
"""The version of the JSON object."""


def status(settings: Settings) -> tuple[int, str]:
    """Return the exit status and the line for the state of the site."""
    seen = find_processes(settings)
    if not seen.all:
        if is_wanted_up(intent_file(settings)):
            return DEAD, f"dead, though it was started, see {settings.log}"
        return STOPPED, "stopped"
    if not seen.servers:
        return UNKNOWN, f"ended, is about to be started again, see {settings.log}"
    where = " in the foreground" if seen.foreground else ""
    what = f"running, process {seen.servers[0]}{where}{format_start(seen.started_at)}"
    if is_answering(settings):
        return RUNNING, f"{what}, {answer(settings)}"
    if before := previous_address(settings, seen):
        return UNKNOWN, f"{what}, at {before} still, not at {settings.address}"
    return UNKNOWN, f"{what}, {settings.address} does not answer"


def as_json(settings: Settings) -> tuple[int, str]:
    """Return the exit status, and the result of :func:`status` as a JSON object."""
    code, text = status(settings)
    servers = find_processes(settings).servers
    values = {"address": settings.address, "process": servers[0] if servers else None}
    return code, _object(settings.name, code, text, values)


def unknown(name: str, text: str) -> str:
    """Return the JSON object of a site whose state is not known."""
    return _object(name, UNKNOWN, text, {"address": None, "process": None})


def _object(name: str, code: int, text: str, values: Mapping[str, object]) -> str:
    common = {"version": FORMAT, "site": name, "state": STATES[code], "status": code}
    return json.dumps({**common, **values, "text": text}, indent=2)


def format_start(when: float | None) -> str:
    if when is None:
        return ""
    moment = datetime.fromtimestamp(when)
    return f" since {moment.isoformat(' ', timespec='seconds')}"


def intent_file(settings: Settings) -> Path:
    return settings.run / f"{settings.name}.wanted"


def lock_file(settings: Settings) -> Path:
    return settings.run / f"{settings.name}.lock"
