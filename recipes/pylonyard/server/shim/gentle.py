"""Run a script so that SIGINT ends its server after the requests in flight.

``python gentle.py paster serve production.ini`` runs paster as ``__main__``. The
interpreter of the application runs this file: it is valid in Python 2.7 as well, and
imports nothing but the standard library.

Servers that are given sockets by the supervisor stand in first: see ``standing_in``.

Left alone, Paste raises SystemExit in workers that stay busy for half a second after
SIGINT, and then may never end; waitress drops what is queued, and after 5 seconds
what is running. A server that is not known here gets the signal as it is, and so
does any server at the second one.
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

    from pylonyard.server.shim import standing_in
else:
    # A neighbour of this script, to be left without bytecode in our folder.
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    import standing_in

    sys.dont_write_bytecode = written

PAUSE = 0.05
"""Seconds between two looks."""

QUIET = 3
"""Looks in a row, without work seen, that make a server idle."""

BACKLOG = 128
"""Connections that are still accepted, since the kernel has done so already."""

LINGER = 2
"""Seconds that a visitor's open connection may be silent before it is closed."""


def on_interrupt(number, frame):
    # type: (int, FrameType | None) -> None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    is_accepting = "_handle_request_noblock" in names(frame)
    while frame is not None:
        server = frame.f_locals.get("self")  # type: Any
        if standing_in.has(server, "thread_pool") and standing_in.has(server, "handle_request"):
            server.thread_pool.shutdown = functools.partial(finish_paste, server)
            if is_accepting:  # it would drop the visitor whom it just let in
                server.running = False
                return
            break
        if standing_in.has(server, "_BaseServer__shutdown_request") and is_accepting:
            # Of the standard library: it ends its loop once this visitor is served.
            server._BaseServer__shutdown_request = True
            return
        if standing_in.has(server, "task_dispatcher"):
            drain = threading.Thread(target=drain_waitress, args=(server,))
            drain.daemon = True
            drain.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def names(frame):
    # type: (FrameType | None) -> set[str]
    """Return the functions that ``frame`` was called by, and its own."""
    found = set()
    while frame is not None:
        found.add(frame.f_code.co_name)
        frame = frame.f_back
    return found


def finish_paste(server, force_quit_timeout=0):
    # type: (Any, float) -> None
    """Accept no more, and wait for the workers: they answer what is queued first."""
    server.socket.setblocking(False)  # what is there, another server may take first
    for _ in range(BACKLOG):
        if not select.select([server.socket], [], [], 0)[0]:
            break
        server.handle_request()
    server.socket.close()
    pool, looks = server.thread_pool, 0
    # Workers come and go: a new one takes the place of one that has served long.
    while looks < QUIET:
        time.sleep(PAUSE)
        looks = 0 if pool.worker_tracker or not pool.queue.empty() else looks + 1
    while pool.workers:
        if pool.queue.empty():
            pool.queue.put(pool.SHUTDOWN)
        time.sleep(PAUSE / 10)


def drain_waitress(server):
    # type: (Any) -> None
    """Accept no more, and pass the signal on when there is nothing left to do.

    Its main loop goes on meanwhile: that is what sends the answers.
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
    while looks < QUIET:
        time.sleep(PAUSE)
        looks = 0 if waitress_is_busy(server, channels) else looks + 1
    os.kill(os.getpid(), signal.SIGINT)


def wake(listening):
    # type: (list[Any]) -> None
    """Have the loop forget the sockets, then close them: nobody connects in vain."""
    for one in listening:
        one.pull_trigger()
    time.sleep(PAUSE)
    for one in listening:
        one.socket.close()


def close_after_answers():
    # type: () -> None
    """Have each connection closed, and its visitor told so, with the next answer."""
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
    # Before waitress 1.2 it is a Queue, and nobody counts those who work.
    queued = tasks.queue.qsize() if hasattr(tasks.queue, "qsize") else len(tasks.queue)
    return bool(queued or getattr(tasks, "active_count", 0)) or any(
        is_in_use(channel) for channel in list(channels.values())
    )


def is_in_use(channel):
    # type: (Any) -> bool
    if getattr(channel, "requests", None) or getattr(channel, "total_outbufs_len", 0):
        return True
    if getattr(channel, "request", None) is not None:  # of which more is to come
        return True
    return time.time() - getattr(channel, "last_activity", 0) < LINGER


def main():
    # type: () -> None
    del sys.argv[0]
    script = sys.argv[0]
    # Python put our own folder first: to the application its own script is run.
    here = os.path.dirname(os.path.realpath(__file__))
    if sys.path and os.path.realpath(sys.path[0]) == here:
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    signal.signal(signal.SIGINT, on_interrupt)
    # Of PasteScript's, at each start; whoever reads the log can do nothing about it.
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
    standing_in.prepare(os.environ)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
