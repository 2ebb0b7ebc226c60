"""The end of all processes of a site, whatever state they are in."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from pylonyard.server.settings import Settings
from pylonyard.server.status import look, wait_until
from pylonyard.system.errors import ServerError
from pylonyard.system.processes import (
    Handle,
    descendants,
    marked,
    parent,
    send,
    server_marker,
    supervisor_marker,
)

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


def outlast(settings: Settings, supervisors: Sequence[int]) -> None:
    """Wait until ``supervisors``, who were told to stop, have ended; or end them."""
    marker = supervisor_marker(settings.identity, settings.places)

    def left() -> list[int]:
        return marked(marker, candidates=supervisors)

    def killed() -> bool:
        if left():
            end_all(lambda: family(left()))
        return not left()

    if not wait_until(lambda: not left(), settings.stop_timeout + MARGIN):
        wait_until(killed, LAST)


def ask(settings: Settings) -> None:
    """Ask the supervisor to stop its server, or servers that have lost theirs."""
    seen = look(settings)
    for pid in seen.supervisors:
        send(pid, signal.SIGTERM, supervisor_marker(settings.identity, settings.places))
    if not seen.supervisors:
        for pid in seen.servers:
            if parent(pid) not in seen.servers:
                send(pid, signal.SIGINT, server_marker(settings.identity, settings.places))


def kill(settings: Settings) -> bool:
    """Kill every process of the site, and all their descendants; return False."""
    end_all(lambda: family(look(settings).everything))
    return False


def end(ours: Sequence[int]) -> None:
    """Kill our own children ``ours``, which were not reaped, and their descendants."""
    end_all(lambda: family(ours))


def end_all(find: Callable[[], set[int]]) -> None:
    """Kill every process that ``find`` returns, twice, and wait for their ends.

    A process is looked at after its handle was opened, so that the handle cannot be
    that of a later process of the same number.
    """
    with ExitStack() as opened:
        handles = [opened.enter_context(Handle(pid)) for pid in find()]
        found = find()
        killed = [one for one in handles if one.pid in found and one.send(signal.SIGKILL)]
        deadline = time.monotonic() + LAST
        for one in killed:
            one.wait(deadline - time.monotonic())


def family(roots: Sequence[int]) -> set[int]:
    return {*roots, *descendants(list(roots))} - {os.getpid()}
