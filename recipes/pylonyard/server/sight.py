"""What can be seen of a site: its processes, and whether it answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pylonyard.server import answering, listening
from pylonyard.server.processes import (
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
from pylonyard.server.settings import Settings

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
    sockets = listening.inodes(settings.host, settings.port)
    if not sockets:
        return False
    ours = look(settings)
    known = [*ours.servers, *descendants(list(ours.everything))]
    return bool(listening.holders(sockets, known))


def holds(seen: Sight, sockets: set[int]) -> bool:
    """Whether a site has one of ``sockets``, be it that its supervisor alone has."""
    known = [*seen.everything, *descendants(list(seen.everything))]
    return bool(listening.holders(sockets, known))


def is_answering(settings: Settings) -> bool:
    """Whether our own server, and no other, answers before it counts as hanging."""
    return is_listening(settings) and answering.answers(
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
    ours = listening.of_processes(seen.supervisors) or listening.of_processes(servers)
    for one in ours:
        place = replace(settings, host=str(one.address), port=one.port)
        if answering.answers(place.host, place.port, place.check_path, place.hang_timeout):
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
    found = answering.status(*place, settings.check_path, timeout)
    if found is None:
        return f"{settings.address} does not answer"
    error = f" {found}, see bin/{settings.name} log" if found >= 500 else ""
    return f"{settings.address} answers{error}"


def stranger(settings: Settings) -> str | None:
    """Return who else has the site's port, as text; None if it is free."""
    sockets = listening.inodes(settings.host, settings.port)
    if not sockets:
        return None
    for pid in listening.holders(sockets):
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
