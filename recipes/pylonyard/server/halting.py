"""The end of all processes of a site, whatever state they are in."""

import os
import signal

from pylonyard.server.errors import ServerError
from pylonyard.server.processes import (
    Handle,
    descendants,
    parent,
    send,
    server_marker,
    supervisor_marker,
)
from pylonyard.server.settings import Settings
from pylonyard.server.sight import look, wait_until

MARGIN = 0.5
"""Seconds that a supervisor has to kill what its server left."""

LAST = 5.0
"""Seconds until a killed process has to be gone."""


def halt(settings: Settings, grace: float) -> None:
    """End every process of the site, in ``grace`` seconds or by force.

    :raises ServerError: if even force does not end one
    """

    def gone() -> bool:
        return not look(settings).everything

    def killed() -> bool:
        return gone() or kill(settings)

    if grace:
        ask(settings)
        if wait_until(gone, grace + MARGIN):
            return
    if not wait_until(killed, LAST):
        left = ", ".join(map(str, look(settings).everything))
        raise ServerError(f"cannot be stopped: process {left} survives SIGKILL")


def ask(settings: Settings) -> None:
    """Ask the supervisor to stop its server, or servers that have lost theirs."""
    seen = look(settings)
    for pid in seen.supervisors:
        send(pid, signal.SIGTERM, supervisor_marker(settings.identity))
    if not seen.supervisors:
        for pid in seen.servers:
            if parent(pid) not in seen.servers:
                send(pid, signal.SIGINT, server_marker(settings.identity))


def kill(settings: Settings) -> bool:
    """Kill every process of the site, and all their descendants; return False.

    A process is looked at after its handle was opened, so that the handle cannot be
    that of a later process of the same number.
    """
    handles = [Handle(pid) for pid in family(settings)]
    ours = family(settings)
    for handle in handles:
        with handle:
            if handle.pid in ours:
                handle.send(signal.SIGKILL)
    return False


def family(settings: Settings) -> set[int]:
    seen = list(look(settings).everything)
    return {*seen, *descendants(seen)} - {os.getpid()}
