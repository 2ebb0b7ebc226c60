"""Start, stop, restart and revive a site: each returns the line to tell."""

import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pylonyard.server import status
from pylonyard.server.child import is_wrapped
from pylonyard.server.launch import NotServing, launch
from pylonyard.server.settings import Settings
from pylonyard.server.sockets import bound, close, fit, received
from pylonyard.server.status import (
    Sight,
    address_before,
    answer,
    is_answering,
    is_outdated,
    look,
    stranger,
    wait_until,
    wanted,
)
from pylonyard.server.stop import halt, outlast
from pylonyard.system import listeners, relocation
from pylonyard.system.errors import NOT_CONFIGURED, NOT_INSTALLED, ServerError
from pylonyard.system.locks import BusyError, exclusive
from pylonyard.system.processes import marked, started, supervisor_marker

Progress = Callable[[], None]

GAP = "; requests were refused meanwhile, since its sockets could not be handed over"


def quiet() -> None:
    """Show no progress."""


def start(settings: Settings, progress: Progress = quiet) -> str:
    """Bring the site up, unless it is; return once it answers.

    :raises ServerError: if it does not; nothing that was started is left then
    """
    check_installed(settings)
    if status.is_wanted(wanted(settings)) and is_up(settings):
        return f"already running, {answer(settings)}"
    with exclusive(lock(settings), patience(settings)):
        status.record(wanted(settings), status.UP)
        return bring_up(settings, progress)


def stop(settings: Settings) -> str:
    """Take the site down, for good: ``ensure`` leaves it so.

    :raises ServerError: if it is down, but its file system is read-only
    """
    with exclusive(lock(settings), patience(settings)):
        cannot_last = ""
        try:
            status.withdraw(wanted(settings))
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            cannot_last = f", but cron may start it again: {wanted(settings)}: {error.strerror}"
        done = "not running"
        if look(settings).everything:
            halt(settings, settings.stop_timeout)
            done = "stopped"
    if cannot_last:
        raise ServerError(done + cannot_last)
    return done


def restart(settings: Settings, progress: Progress = quiet) -> str:
    """Bring the site up anew: what runs goes on until the new server answers.

    docs/operating.rst tells it as a whole.

    :raises ServerError: if that cannot be, saying whether what ran goes on
    """
    check_installed(settings)
    with exclusive(lock(settings), patience(settings)):
        status.record(wanted(settings), status.UP)
        return replace(settings, progress)


def try_restart(settings: Settings, progress: Progress = quiet) -> str:
    """Restart the site if it runs."""
    check_installed(settings)
    with exclusive(lock(settings), patience(settings)):
        if not look(settings).everything:
            return "not running"
        return replace(settings, progress)


def ensure(settings: Settings) -> str:
    """Bring the site back if it is wanted and does not answer; mostly return "".

    If somebody else is starting or stopping it, that is left to them.
    """
    if not status.is_wanted(wanted(settings)):
        return ""
    try:
        with exclusive(lock(settings), wait=0):
            # It may have been stopped between the first look and the lock.
            return revive(settings) if status.is_wanted(wanted(settings)) else ""
    except BusyError:
        return ""


def bring_up(settings: Settings, progress: Progress) -> str:
    seen = look(settings)
    refuse_foreground(seen)
    if seen.supervisors:
        if is_outdated(settings, seen) and (before := address_before(settings, seen)):
            raise ServerError(
                f"runs at {before} still, not at {settings.address}: {moving(settings)}"
            )
        return wait_for(settings, progress)
    if seen.servers:  # their supervisor was killed
        halt(settings, settings.stop_timeout)
    if other := stranger(settings):
        raise ServerError(f"port {settings.port} is taken by {other}")
    try:
        launch(settings, progress, bound(settings) if is_wrapped(settings) else [])
        wait_for(settings, progress)
    except NotServing as error:
        halt(settings, grace=0)
        raise ServerError(f"did not start: {error}") from error
    except BaseException:
        halt(settings, grace=0)
        raise
    return f"started, {answer(settings)}"


def moving(settings: Settings) -> str:
    """Return the command that has a server serve at the address of a new release."""
    # Imported here: init and cron have no use for it.
    from pylonyard.releases import next_steps

    # Where Apache asks it, the two have to move together.
    is_active = next_steps.active_release(settings.source.parents[2]) is not None
    return "as root: bin/pylonyard activate" if is_active else f"bin/{settings.name} restart"


def is_up(settings: Settings) -> bool:
    seen = look(settings)
    return bool(seen.supervisors) and not seen.foreground and is_answering(settings)


def wait_for(settings: Settings, progress: Progress) -> str:
    """Wait for a site that somebody else started."""

    def answering() -> bool:
        progress()
        return is_answering(settings)

    if not wait_until(answering, settings.start_timeout):
        waited = f"did not answer in {settings.start_timeout} s"
        raise ServerError(f"runs, but {settings.address} {waited}: try restart")
    return f"already running, {answer(settings)}"


def replace(settings: Settings, progress: Progress) -> str:
    """Have a new server take the place of what runs, if anything does.

    :raises ServerError: if it cannot.  What ran goes on then, unless its sockets cannot
        be had, or the new server cannot stand in beside it
    """
    seen = look(settings)
    refuse_foreground(seen)
    sockets = sockets_of(settings, seen.supervisors)
    if not sockets:
        halt(settings, settings.stop_timeout)
        told = "re" + bring_up(settings, progress)
        return told + GAP if seen.supervisors else told
    try:
        launch(settings, progress, sockets, seen.supervisors)
    except NotServing as error:
        marker = supervisor_marker(settings.identity, settings.places)
        if marked(marker, candidates=seen.supervisors):
            raise ServerError(f"was not restarted, the old server goes on: {error}") from error
        # It had to end first, for a server that cannot stand in.
        halt(settings, grace=0)
        raise ServerError(f"did not start, and the old server has ended: {error}") from error
    outlast(settings, seen.supervisors)
    wait_for(settings, progress)
    return f"restarted, {answer(settings)}"


def sockets_of(settings: Settings, supervisors: Sequence[int]) -> list[socket.socket]:
    """Return the sockets of a site that runs; none if they cannot be handed over."""
    if not is_wrapped(settings):
        return []
    for supervisor in supervisors:
        found = received(supervisor, settings.handover)
        if found and fit(found, settings):
            return found
        if found:  # host or port have changed
            close(found)
            taken = listeners.inodes(settings.host, settings.port)
            # 0.0.0.0 and 127.0.0.1 cannot both have a port.
            return [] if listeners.holders(taken, supervisors) else bound(settings)
    return []


def revive(settings: Settings) -> str:
    seen = look(settings)
    if seen.foreground or is_healthy(settings, seen):
        return ""
    if address_before(settings, seen):
        return ""  # a new release has another port, and is not served yet
    check_installed(settings)
    halt(settings, grace=0)  # what hangs would not use any
    bring_up(settings, quiet)
    why = "did not answer" if seen.everything else "was not running"
    return f"{why}, was started again: {answer(settings)}"


def is_healthy(settings: Settings, seen: Sight) -> bool:
    """Whether the site answers, or does so before its time to start is over."""
    if not seen.servers:
        return False
    ages = [time.time() - (started(pid) or 0) for pid in seen.servers]
    # In a container /proc may tell an uptime of its own: a server is no younger than new.
    left = settings.start_timeout - max(0, min(ages))
    if left > 0 and wait_until(lambda: is_answering(settings), left):
        return True
    tries = range(settings.hang_tries)
    return any(is_answering(settings) for _ in tries)


def refuse_foreground(seen: Sight) -> None:
    if seen.foreground:
        raise ServerError(f"runs in the foreground, process {seen.foreground[0]}")


def check_installed(settings: Settings) -> None:
    """Refuse what cannot work, before anything that works is stopped.

    :raises ServerError: if the application, or its configuration, is not there
    """
    if settings.python and not os.path.exists(settings.python):
        removed = f"{os.path.realpath(settings.python)}, which runs the site, was removed"
        advice = relocation.how_to_make_anew(settings.sandbox)
        raise ServerError(f"{removed}: {advice}", NOT_INSTALLED)
    if not os.access(settings.paster, os.X_OK):
        message = f"cannot run {settings.paster}: run bin/buildout"
        raise ServerError(message, NOT_INSTALLED)
    if not os.access(settings.ini, os.R_OK):
        message = f"cannot read {settings.ini}: run bin/buildout"
        raise ServerError(message, NOT_CONFIGURED)


def patience(settings: Settings) -> int:
    """Return the seconds that another action may take: a restart starts and stops."""
    return settings.start_timeout + settings.stop_timeout


def lock(settings: Settings) -> Path:
    return settings.run / f"{settings.name}.lock"
