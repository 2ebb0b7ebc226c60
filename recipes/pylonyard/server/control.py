"""Start, stop, restart and revive a site. Each function returns the line to print."""

import errno
import re
import signal
import socket
import time
from collections.abc import Callable, Sequence

from pylonyard.server import status
from pylonyard.server.environment import check_installed, is_wrapped
from pylonyard.server.launch import NotServingError, launch
from pylonyard.server.settings import Settings
from pylonyard.server.sockets import bind_all, close, match_settings, receive_from
from pylonyard.server.status import (
    SiteProcesses,
    answer,
    find_processes,
    intent_file,
    is_answering,
    is_outdated,
    lock_file,
    port_holder,
    previous_address,
    wait_until,
)
from pylonyard.system import listeners
from pylonyard.system.errors import ServerError
from pylonyard.system.locks import BusyError, exclusive
from pylonyard.system.processes import (
    KILL_TIMEOUT,
    kill_trees,
    marked,
    parent,
    send,
    server_marker,
    started,
    supervisor_marker,
)

Progress = Callable[[], None]

SOCKETS_NOT_HANDED_OVER = (
    "; requests were refused meanwhile, since its sockets could not be handed over"
)

ONE_AT_A_TIME = (
    "; if only one process may have its data open, set overlap = false in [site], run "
    "bin/buildout, and restart"
)
_IS_LOCKED = re.compile(
    r"\block|lock(ed|error)?\b|BlockingIOError|temporarily unavailable|already (in use|open)",
    re.IGNORECASE,
)

SUPERVISOR_MARGIN = 0.5
"""Seconds that a supervisor gets to kill the processes that its server left."""


def no_progress() -> None:
    """Show no progress."""


def start(settings: Settings, progress: Progress = no_progress) -> str:
    """Start the site unless it runs; return once it answers.

    :raises ServerError: if it does not answer; whatever was started has been stopped again
    """
    check_installed(settings)
    if status.is_wanted_up(intent_file(settings)) and is_up(settings):
        return f"already running, {answer(settings)}"
    with exclusive(lock_file(settings), lock_timeout(settings)):
        status.write_intent(intent_file(settings), status.UP)
        return _start_locked(settings, progress)


def stop(settings: Settings) -> str:
    """Stop the site, and note that it should stay down: ``ensure`` does not start it.

    :raises ServerError: if it is down, but a read-only file system keeps us from noting that
    """
    with exclusive(lock_file(settings), lock_timeout(settings)):
        cannot_last = ""
        try:
            status.write_down(intent_file(settings))
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            cannot_last = (
                f", but cron may start it again: {intent_file(settings)}: {error.strerror}"
            )
        done = "not running"
        if find_processes(settings).all:
            stop_all(settings, settings.stop_timeout)
            done = "stopped"
    if cannot_last:
        raise ServerError(done + cannot_last)
    return done


def restart(settings: Settings, progress: Progress = no_progress) -> str:
    """Restart the site: the old server serves until the new one answers.

    docs/design.rst, "One restart", follows it module by module.

    :raises ServerError: if that fails, saying whether the old server goes on
    """
    check_installed(settings)
    with exclusive(lock_file(settings), lock_timeout(settings)):
        status.write_intent(intent_file(settings), status.UP)
        return _replace_server(settings, progress)


def try_restart(settings: Settings, progress: Progress = no_progress) -> str:
    """Restart the site if it runs."""
    check_installed(settings)
    with exclusive(lock_file(settings), lock_timeout(settings)):
        if not find_processes(settings).all:
            return "not running"
        return _replace_server(settings, progress)


def ensure(settings: Settings) -> str:
    """Start the site again if it should be up and does not answer; return "" if all is well.

    If somebody else is starting or stopping it, leave that to them.
    """
    if not status.is_wanted_up(intent_file(settings)):
        return ""
    try:
        with exclusive(lock_file(settings), wait=0):
            # It may have been stopped between the first look and the lock.
            return _revive_locked(settings) if status.is_wanted_up(intent_file(settings)) else ""
    except BusyError:
        return ""


def _start_locked(settings: Settings, progress: Progress) -> str:
    seen = find_processes(settings)
    _refuse_foreground(seen)
    if seen.supervisors:
        if is_outdated(settings, seen) and (before := previous_address(settings, seen)):
            raise ServerError(
                f"runs at {before} still, not at {settings.address}: {move_command(settings)}"
            )
        return wait_for_answer(settings, progress)
    if seen.servers:  # their supervisor was killed
        stop_all(settings, settings.stop_timeout)
    if other := port_holder(settings):
        raise ServerError(f"port {settings.port} is taken by {other}")
    try:
        launch(settings, progress, bind_all(settings) if is_wrapped(settings) else [])
        wait_for_answer(settings, progress)
    except NotServingError as error:
        stop_all(settings, grace=0)
        raise ServerError(f"did not start: {error}") from error
    except BaseException:
        stop_all(settings, grace=0)
        raise
    return f"started, {answer(settings)}"


def move_command(settings: Settings) -> str:
    """Return the command that moves the server to the address of a new release."""
    # Imported here, since init and cron do not need it.
    from pylonyard.system import active_note

    # Behind a web server, the two have to move together.
    is_active = active_note.active_release(settings.source.parents[2]) is not None
    return "as root: bin/pylonyard activate" if is_active else f"bin/{settings.name} restart"


def is_up(settings: Settings) -> bool:
    seen = find_processes(settings)
    return bool(seen.supervisors) and not seen.foreground and is_answering(settings)


def wait_for_answer(settings: Settings, progress: Progress) -> str:
    """Wait until the site answers; return the line to print."""

    def answering() -> bool:
        progress()
        return is_answering(settings)

    if not wait_until(answering, settings.start_timeout):
        waited = f"did not answer in {settings.start_timeout} s"
        raise ServerError(f"runs, but {settings.address} {waited}: try restart")
    return f"already running, {answer(settings)}"


def _replace_server(settings: Settings, progress: Progress) -> str:
    """Replace the running server by a new one; start one if none runs.

    :raises ServerError: if that fails. The old server goes on then, unless its sockets could
        not be handed over, or the new server cannot listen at a temporary port first
    """
    seen = find_processes(settings)
    _refuse_foreground(seen)
    sockets = _sockets_to_reuse(settings, seen.supervisors)
    if not sockets:
        stop_all(settings, settings.stop_timeout)
        line = "re" + _start_locked(settings, progress)
        has_gap = seen.supervisors and settings.overlap
        return line + SOCKETS_NOT_HANDED_OVER if has_gap else line
    if not settings.overlap:
        return _restart_apart(settings, sockets, progress)
    try:
        launch(settings, progress, sockets, seen.supervisors)
    except NotServingError as error:
        marker = supervisor_marker(settings.identity, settings.own_places)
        if marked(marker, candidates=seen.supervisors):
            why = f"{error}{ONE_AT_A_TIME if _IS_LOCKED.search(str(error)) else ''}"
            raise ServerError(f"was not restarted, the old server goes on: {why}") from error
        # The old server had to end first, as the new one cannot use a temporary port.
        stop_all(settings, grace=0)
        raise ServerError(f"did not start, and the old server has ended: {error}") from error
    if not wait_for_supervisors(settings, seen.supervisors):
        why = f"the new one ended as soon as it served, see {settings.log}"
        raise ServerError(f"was not restarted, the old server goes on: {why}")
    wait_for_answer(settings, progress)
    return f"restarted, {answer(settings)}"


def _restart_apart(settings: Settings, sockets: list[socket.socket], progress: Progress) -> str:
    """Stop the old server, then start a new one; clients wait meanwhile.

    :raises ServerError: if the new one does not serve; the old one has ended then
    """
    try:
        stop_all(settings, settings.stop_timeout)
        launch(settings, progress, sockets)
        wait_for_answer(settings, progress)
    except NotServingError as error:
        stop_all(settings, grace=0)
        raise ServerError(f"did not start, and the old server has ended: {error}") from error
    finally:
        close(sockets)
    return f"restarted, {answer(settings)}"


def _sockets_to_reuse(settings: Settings, supervisors: Sequence[int]) -> list[socket.socket]:
    """Return the sockets of a running site; none if they cannot be handed over."""
    if not is_wrapped(settings):
        return []
    for supervisor in supervisors:
        found = receive_from(supervisor, settings.handover)
        if found and match_settings(found, settings):
            return found
        if found:  # host or port have changed
            close(found)
            taken = listeners.inodes(settings.host, settings.port)
            # 0.0.0.0 and 127.0.0.1 cannot both have a port.
            return [] if listeners.holders(taken, supervisors) else bind_all(settings)
    return []


def _revive_locked(settings: Settings) -> str:
    seen = find_processes(settings)
    if seen.foreground or is_healthy(settings, seen):
        return ""
    if previous_address(settings, seen):
        return ""  # a new release has another port; it serves at the old one until a restart
    check_installed(settings)
    stop_all(settings, grace=0)  # a hanging server would not use it
    _start_locked(settings, no_progress)
    why = "did not answer" if seen.all else "was not running"
    return f"{why}, was started again: {answer(settings)}"


def is_healthy(settings: Settings, seen: SiteProcesses) -> bool:
    """Return whether the site answers; wait for it while its time to start is not over."""
    if not seen.servers:
        return False
    ages = [time.time() - (started(pid) or 0) for pid in seen.servers]
    # In a container /proc may show another uptime, which makes an age negative.
    left = settings.start_timeout - max(0, min(ages))
    if left > 0 and wait_until(lambda: is_answering(settings), left):
        return True
    tries = range(settings.hang_tries)
    return any(is_answering(settings) for _ in tries)


def _refuse_foreground(seen: SiteProcesses) -> None:
    if seen.foreground:
        raise ServerError(f"runs in the foreground, process {seen.foreground[0]}")


def lock_timeout(settings: Settings) -> int:
    """Return the seconds to wait for another action: a restart starts and stops."""
    return settings.start_timeout + settings.stop_timeout


# Stop all processes of a site, whatever state they are in.


def stop_all(settings: Settings, grace: float) -> None:
    """Stop every process of the site; kill those that run after ``grace`` seconds.

    :raises ServerError: if one survives SIGKILL
    """

    def gone() -> bool:
        return not find_processes(settings).all

    def killed() -> bool:
        kill_trees(lambda: find_processes(settings).all)
        return gone()

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
            kill_trees(left)
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
