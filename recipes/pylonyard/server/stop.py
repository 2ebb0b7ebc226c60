"""Stop all processes of a site, whatever state they are in."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from pylonyard.server.settings import Settings
from pylonyard.server.status import find_processes, wait_until
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

SUPERVISOR_MARGIN = 0.5
"""Seconds that a supervisor gets to kill the processes that its server left."""

KILL_TIMEOUT = 5.0
"""Seconds to wait for a killed process to end."""


def stop_all(settings: Settings, grace: float) -> None:
    """Stop every process of the site; kill those that run after ``grace`` seconds.

    :raises ServerError: if one survives SIGKILL
    """

    def gone() -> bool:
        return not find_processes(settings).all

    def killed() -> bool:
        return gone() or _kill_site(settings)

    if grace:
        _request_stop(settings)
        if wait_until(gone, grace + SUPERVISOR_MARGIN):
            return
    if not wait_until(killed, KILL_TIMEOUT):
        left = ", ".join(map(str, find_processes(settings).all))
        raise ServerError(f"cannot be stopped: process {left} survives SIGKILL")


def wait_for_supervisors(settings: Settings, supervisors: Sequence[int]) -> bool:
    """Wait until ``supervisors``, which the new one tells to stop, have ended; else kill them.

    Return False if they go on: the new one has ended before it told them.
    """
    marker = supervisor_marker(settings.identity, settings.own_places)

    def left() -> list[int]:
        return marked(marker, candidates=supervisors)

    def killed() -> bool:
        if left():
            _kill_all(lambda: _with_descendants(left()))
        return not left()

    def is_alone() -> bool:
        return set(find_processes(settings).supervisors) <= set(supervisors)

    wait_until(lambda: not left() or is_alone(), settings.stop_timeout + SUPERVISOR_MARGIN)
    if left() and is_alone():
        return False
    wait_until(killed, KILL_TIMEOUT)
    return True


def _request_stop(settings: Settings) -> None:
    """Send the supervisor SIGTERM; without a supervisor, send its servers SIGINT."""
    seen = find_processes(settings)
    for pid in seen.supervisors:
        send(pid, signal.SIGTERM, supervisor_marker(settings.identity, settings.own_places))
    if not seen.supervisors:
        for pid in seen.servers:
            if parent(pid) not in seen.servers:
                send(pid, signal.SIGINT, server_marker(settings.identity, settings.own_places))


def _kill_site(settings: Settings) -> bool:
    """Kill every process of the site, with all descendants; return False."""
    _kill_all(lambda: _with_descendants(find_processes(settings).all))
    return False


def kill_children(ours: Sequence[int]) -> None:
    """Kill ``ours``, children of this process, and their descendants."""
    _kill_all(lambda: _with_descendants(ours))


def _kill_all(find: Callable[[], set[int]]) -> None:
    """Kill the processes that ``find`` returns both times, and wait for them to end.

    ``find`` is called again after the handles were opened, so that no handle can be
    that of a later process with the same number.
    """
    with ExitStack() as opened:
        handles = [opened.enter_context(Handle(pid)) for pid in find()]
        found = find()
        killed = [one for one in handles if one.pid in found and one.send(signal.SIGKILL)]
        deadline = time.monotonic() + KILL_TIMEOUT
        for one in killed:
            one.wait(deadline - time.monotonic())


def _with_descendants(roots: Sequence[int]) -> set[int]:
    return {*roots, *descendants(list(roots))} - {os.getpid()}
