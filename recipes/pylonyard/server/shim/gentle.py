"""Run a script so that SIGINT ends its server after the requests in flight.

``python gentle.py paster serve production.ini`` runs paster as ``__main__``. The
interpreter of the application runs this file: it is valid in Python 2.7 as well, and
imports nothing but the standard library.

A server that gets sockets from the supervisor binds them later: see ``deferred_bind``.

By itself, Paste raises SystemExit in workers that stay busy for half a second after
SIGINT, and then may never end; waitress drops queued requests, and after 5 seconds
running ones. A server that is not known here gets the signal as it is. So does any server
at the second signal.
"""

import functools
import os
import runpy
import select
import signal
import sys
import threading
import time
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType  # noqa: F401  used in comments, which Python 2 can read
    from typing import Any  # noqa: F401

    from pylonyard.server.shim import deferred_bind
else:
    # A module in this folder, where no bytecode is to be written.
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    import deferred_bind

    sys.dont_write_bytecode = written

PAUSE = 0.05
"""Seconds between two checks."""

IDLE_LOOKS = 3
"""Checks in a row without any work, after which a server counts as idle."""

BACKLOG = 128
"""Connections that are still accepted: the kernel has accepted them already."""

KEEP_ALIVE_SECONDS = 2
"""Seconds that a client's open connection may be silent before it is closed."""


def on_interrupt(number, frame):
    # type: (int, FrameType | None) -> None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    is_accepting = "_handle_request_noblock" in function_names(frame)
    while frame is not None:
        server = frame.f_locals.get("self")  # type: Any
        if deferred_bind.has_attribute(server, "thread_pool") and deferred_bind.has_attribute(
            server, "handle_request"
        ):
            server.thread_pool.shutdown = functools.partial(drain_paste, server)
            if is_accepting:  # it would drop the client that it has just accepted
                server.running = False
                return
            break
        if deferred_bind.has_attribute(server, "_BaseServer__shutdown_request") and is_accepting:
            # Of the standard library: it ends its loop once this client is served.
            server._BaseServer__shutdown_request = True
            return
        if deferred_bind.has_attribute(server, "task_dispatcher"):
            drain = threading.Thread(target=drain_waitress, args=(server,))
            drain.daemon = True
            drain.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def function_names(frame):
    # type: (FrameType | None) -> set[str]
    """Return the names of the functions on the stack of ``frame``."""
    found = set()
    while frame is not None:
        found.add(frame.f_code.co_name)
        frame = frame.f_back
    return found


def drain_paste(server, force_quit_timeout=0):
    # type: (Any, float) -> None
    """Stop accepting, then wait until the workers have answered all that is queued."""
    server.socket.setblocking(False)  # another server may accept a waiting connection first
    for _ in range(BACKLOG):
        if not select.select([server.socket], [], [], 0)[0]:
            break
        server.handle_request()
    server.socket.close()
    pool, looks = server.thread_pool, 0
    # Check several times: Paste replaces workers that have served long.
    while looks < IDLE_LOOKS:
        time.sleep(PAUSE)
        looks = 0 if pool.worker_tracker or not pool.queue.empty() else looks + 1
    while pool.workers:
        if pool.queue.empty():
            pool.queue.put(pool.SHUTDOWN)
        time.sleep(PAUSE / 10)


def drain_waitress(server):
    # type: (Any) -> None
    """Stop accepting, and send SIGINT again when nothing is left to do.

    The main loop goes on meanwhile, since it sends the answers.
    """
    channels = getattr(server, "_map", None) or server.map
    listening = [c for c in list(channels.values()) if getattr(c, "accepting", False)]
    for _ in range(BACKLOG):
        if not select.select([one.socket for one in listening], [], [], 0)[0]:
            break
        time.sleep(PAUSE / 10)
    for one in listening:
        one.accepting = False
    time.sleep(PAUSE)
    wake(listening)
    close_after_answers()
    looks = 0
    while looks < IDLE_LOOKS:
        time.sleep(PAUSE)
        looks = 0 if waitress_is_busy(server, channels) else looks + 1
    os.kill(os.getpid(), signal.SIGINT)


def wake(listening):
    # type: (list[Any]) -> None
    """Remove the sockets from the main loop, then close them, so that no client waits in vain."""
    for one in listening:
        one.pull_trigger()
    time.sleep(PAUSE)
    for one in listening:
        one.socket.close()


def close_after_answers():
    # type: () -> None
    """Close each connection with its next answer, and tell the client so."""
    tasks = sys.modules["waitress.task"].Task  # type: Any
    build = tasks.build_response_header

    def closing(task):
        # type: (Any) -> Any
        task.request.headers["CONNECTION"] = "close"
        return build(task)

    tasks.build_response_header = closing


def waitress_is_busy(server, channels):
    # type: (Any, Any) -> bool
    tasks = server.task_dispatcher
    # Before waitress 1.2 it is a Queue, and busy workers are not counted.
    queued = tasks.queue.qsize() if hasattr(tasks.queue, "qsize") else len(tasks.queue)
    return bool(queued or getattr(tasks, "active_count", 0)) or any(
        is_in_use(channel) for channel in list(channels.values())
    )


def is_in_use(channel):
    # type: (Any) -> bool
    if getattr(channel, "requests", None) or getattr(channel, "total_outbufs_len", 0):
        return True
    if getattr(channel, "request", None) is not None:  # of which a part is still to come
        return True
    return time.time() - getattr(channel, "last_activity", 0) < KEEP_ALIVE_SECONDS


def main():
    # type: () -> None
    del sys.argv[0]
    script = sys.argv[0]
    # Python put our folder first; the application expects that of its own script.
    here = os.path.dirname(os.path.realpath(__file__))
    if sys.path and os.path.realpath(sys.path[0]) == here:
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    signal.signal(signal.SIGINT, on_interrupt)
    # PasteScript causes it at each start, and no reader of the log can do anything about it.
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
    deferred_bind.prepare(os.environ)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
