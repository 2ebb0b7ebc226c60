"""What can be seen of a site: its processes, and whether it answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pylonyard.server import answering, listening
from pylonyard.server.processes import (
    command,
    descendants,
    foreground_marker,
    marked,
    server_marker,
    started,
    supervisor_marker,
)
from pylonyard.server.settings import Settings

TRY = 3.0
"""Seconds that one request of ours may take."""

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


def look(settings: Settings) -> Sight:
    identity = settings.identity
    return Sight(
        supervisors=tuple(marked(supervisor_marker(identity))),
        servers=tuple(marked(server_marker(identity))),
        foreground=tuple(marked(foreground_marker(identity))),
    )


def is_listening(settings: Settings) -> bool:
    """Whether one of our own processes listens on the site's address."""
    sockets = listening.inodes(settings.host, settings.port)
    if not sockets:
        return False
    ours = look(settings)
    known = [*ours.servers, *descendants(list(ours.everything))]
    return bool(listening.holders(sockets, known))


def is_answering(settings: Settings, timeout: float = TRY) -> bool:
    """Whether our own server, and no other, answers within ``timeout`` seconds."""
    return is_listening(settings) and answering.answers(
        settings.host, settings.port, settings.check_path, timeout
    )


def answer(settings: Settings) -> str:
    """Return in words what a visitor of a site that answers gets, if that is an error."""
    found = answering.status(settings.host, settings.port, settings.check_path, TRY)
    is_error = found is not None and found >= 500
    error = f" {found}, see bin/{settings.name} log" if is_error else ""
    return f"{settings.address} answers{error}"


def stranger(settings: Settings) -> str | None:
    """Return who else has the site's port, as text; None if it is free."""
    sockets = listening.inodes(settings.host, settings.port)
    if not sockets:
        return None
    for pid in listening.holders(sockets):
        return f"process {pid} ({command(pid)})"
    return "a process of another user"


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether ``condition`` came true within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(PAUSE)
    return True
