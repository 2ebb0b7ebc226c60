"""Start, stop, restart and revive a site: each returns the line to tell."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from pylonyard.server import intent
from pylonyard.server.errors import NOT_CONFIGURED, NOT_INSTALLED, ServerError
from pylonyard.server.halting import halt
from pylonyard.server.launching import launch
from pylonyard.server.locking import BusyError, exclusive
from pylonyard.server.processes import started
from pylonyard.server.settings import Settings
from pylonyard.server.sight import Sight, is_answering, look, stranger, wait_until

Progress = Callable[[], None]


def quiet() -> None:
    """Show no progress."""


def start(settings: Settings, progress: Progress = quiet) -> str:
    """Bring the site up, unless it is; return once it answers.

    :raises ServerError: if it does not; nothing that was started is left then
    """
    check_installed(settings)
    with exclusive(lock(settings), settings.start_timeout):
        intent.record(wanted(settings), intent.UP)
        return bring_up(settings, progress)


def stop(settings: Settings) -> str:
    """Take the site down, for good: ``ensure`` leaves it so."""
    with exclusive(lock(settings), settings.start_timeout):
        intent.record(wanted(settings), intent.DOWN)
        if not look(settings).everything:
            return "not running"
        halt(settings, settings.stop_timeout)
        return "stopped"


def restart(settings: Settings, progress: Progress = quiet) -> str:
    """Take the site down, if it is up, and bring it up.

    :raises ServerError: before anything is stopped if it cannot be started at all
    """
    check_installed(settings)
    with exclusive(lock(settings), settings.start_timeout):
        intent.record(wanted(settings), intent.UP)
        return replace(settings, progress)


def try_restart(settings: Settings, progress: Progress = quiet) -> str:
    """Restart the site if it runs."""
    check_installed(settings)
    with exclusive(lock(settings), settings.start_timeout):
        if not look(settings).everything:
            return "not running"
        return replace(settings, progress)


def ensure(settings: Settings) -> str:
    """Bring the site back if it is wanted and does not answer; mostly return "".

    If somebody else is starting or stopping it, that is left to them.
    """
    if not intent.is_wanted(wanted(settings)):
        return ""
    try:
        with exclusive(lock(settings), wait=0):
            # It may have been stopped between the first look and the lock.
            return revive(settings) if intent.is_wanted(wanted(settings)) else ""
    except BusyError:
        return ""


def bring_up(settings: Settings, progress: Progress) -> str:
    seen = look(settings)
    refuse_foreground(seen)
    if seen.supervisors:
        return wait_for(settings, progress)
    if seen.servers:  # their supervisor was killed
        halt(settings, settings.stop_timeout)
    if other := stranger(settings):
        raise ServerError(f"port {settings.port} is taken by {other}")
    try:
        launch(settings, progress)
    except BaseException:
        halt(settings, grace=0)
        raise
    return f"started, {settings.address} answers"


def wait_for(settings: Settings, progress: Progress) -> str:
    """Wait for a site that somebody else started."""

    def answering() -> bool:
        progress()
        return is_answering(settings)

    if not wait_until(answering, settings.start_timeout):
        waited = f"did not answer in {settings.start_timeout} s"
        raise ServerError(f"runs, but {settings.address} {waited}: try restart")
    return f"already running, {settings.address} answers"


def replace(settings: Settings, progress: Progress) -> str:
    refuse_foreground(look(settings))
    halt(settings, settings.stop_timeout)
    return "re" + bring_up(settings, progress)


def revive(settings: Settings) -> str:
    seen = look(settings)
    if seen.foreground or is_healthy(settings, seen):
        return ""
    check_installed(settings)
    halt(settings, grace=0)  # what hangs would not use any
    bring_up(settings, quiet)
    why = "did not answer" if seen.everything else "was not running"
    return f"{why}, was started again: {settings.address} answers"


def is_healthy(settings: Settings, seen: Sight) -> bool:
    """Whether the site answers, or does so before its time to start is over."""
    if not seen.servers:
        return False
    ages = [time.time() - (started(pid) or 0) for pid in seen.servers]
    left = settings.start_timeout - min(ages)
    if left > 0 and wait_until(lambda: is_answering(settings), left):
        return True
    tries = range(settings.hang_tries)
    return any(is_answering(settings, settings.hang_timeout) for _ in tries)


def refuse_foreground(seen: Sight) -> None:
    if seen.foreground:
        raise ServerError(f"runs in the foreground, process {seen.foreground[0]}")


def check_installed(settings: Settings) -> None:
    """Refuse what cannot work, before anything that works is stopped.

    :raises ServerError: if the application, or its configuration, is not there
    """
    if not os.access(settings.paster, os.X_OK):
        message = f"cannot run {settings.paster}: run bin/buildout"
        raise ServerError(message, NOT_INSTALLED)
    if not os.access(settings.ini, os.R_OK):
        message = f"cannot read {settings.ini}: run bin/buildout"
        raise ServerError(message, NOT_CONFIGURED)


def lock(settings: Settings) -> Path:
    return settings.run / f"{settings.name}.lock"


def wanted(settings: Settings) -> Path:
    return settings.run / f"{settings.name}.wanted"
