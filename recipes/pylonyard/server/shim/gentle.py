"""Run a script so that its server takes the site over late, and ends gently.

``python gentle.py paster serve production.ini`` runs paster as ``__main__``. The
interpreter of the application runs this file: it is valid in Python 2.7 as well, and
imports nothing but the standard library.

Late: the supervisor holds the site's sockets. When the server binds the address of one of
them, it gets a temporary port instead. There the supervisor tests it, while another server
may still serve the site. When the supervisor permits it, the site's socket replaces the
temporary one. The messages, a line each::

    at 7 127.0.0.1 34567    the server listens there, instead of on socket 7
    waits 7                 a server of an unknown kind waits for socket 7
    apart                   the server waits for the port, at an address without a socket
    go                      the supervisor permits it: its only message
    there                   the server serves the site

Gently: SIGINT ends the server after the requests in flight. By itself, Paste raises
SystemExit in workers that stay busy for half a second after SIGINT, and then may never end;
waitress drops queued requests, and after 5 seconds running ones. A server that is not known
here gets the signal as it is. So does any server at the second signal.
"""

import fcntl
import functools
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Used in comments, which Python 2 can read.
    from collections.abc import MutableMapping  # noqa: F401
    from types import FrameType  # noqa: F401
    from typing import Any  # noqa: F401

SOCKETS = "PYLONYARD_SOCKETS"
"""Variable: ``7/127.0.0.1/8080``, a socket's number and address, commas between."""

CONTROL = "PYLONYARD_CONTROL"
"""Variable: the number of the socket that leads to the supervisor."""

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

_bind = socket.socket.bind
_getsockname = socket.socket.getsockname

PAUSE = 0.05
"""Seconds between two checks."""

IDLE_LOOKS = 3
"""Checks in a row without any work, after which a server counts as idle."""

BACKLOG = 128
"""Connections that are still accepted: the kernel has accepted them already."""

KEEP_ALIVE_SECONDS = 2
"""Seconds that a client's open connection may be silent before it is closed."""


# The site's sockets, bound late.


class DeferredBind:
    """The site's sockets that this process has got, and the temporary ones in their place."""

    def __init__(self, held, control):
        # type: (dict[tuple[str, int], int], Any) -> None
        self.held = held
        """For each address the number of the socket that is bound to it."""
        self.control = control
        self.may_serve = False
        self.temporary = []  # type: list[tuple[Any, tuple[str, int]]]
        """The server's sockets at temporary ports, and the address that each will get."""

    def bind(self, one, address):
        # type: (Any, Any) -> None
        """Replace ``one.bind(address)``: bind a temporary port, or wait for permission."""
        place = resolve(one.family, address) if is_tcp(one) else None
        if place in self.held and looks_socket_up_each_turn(sys._getframe(1)):
            self.bind_temporarily(one, place)
        elif place in self.held:
            self.wait_for_permission("waits", self.held[place])
            replace_descriptor(one, self.held.pop(place))
            if one.gettimeout() is None:  # or its accept would not wait
                one.setblocking(True)
            self.send("there")
        elif place and place[1] in [port for _, port in self.held]:
            self.wait_for_permission("apart")
            while self.held:
                os.close(self.held.popitem()[1])
            _bind(one, address)
            self.send("there")
        else:
            _bind(one, address)

    def getsockname(self, one):
        # type: (Any) -> Any
        """Replace ``one.getsockname()``: return the address that it will get."""
        found = _getsockname(one)
        for standing, place in self.temporary:
            if standing is one:
                return place + found[2:]
        return found

    def bind_temporarily(self, one, place):
        # type: (Any, tuple[str, int]) -> None
        _bind(one, (LOOPBACK[one.family], 0))
        self.temporary.append((one, place))
        host, port = _getsockname(one)[:2]
        self.send("at", self.held[place], host, port)
        if len(self.temporary) == 1:
            waiting = threading.Thread(target=self.swap_when_allowed)
            waiting.daemon = True
            waiting.start()

    def swap_when_allowed(self):
        # type: () -> None
        """Wait for permission, then replace the temporary sockets.

        No message means that the supervisor has ended, and that we are about to end.
        """
        if self.control.recv(3):
            self.may_serve = True
            for one, place in self.temporary:
                before = _getsockname(one)
                replace_descriptor(one, self.held.pop(place))
                wake(one.family, before)
            self.temporary = []
            self.send("there")

    def wait_for_permission(self, *words):
        # type: (*Any) -> None
        self.send(*words)
        if not self.may_serve:  # it is given once
            self.control.recv(3)
            self.may_serve = True

    def send(self, *words):
        # type: (*Any) -> None
        line = " ".join(str(word) for word in words)
        self.control.sendall((line + "\n").encode("ascii"))


def prepare(environ):
    # type: (MutableMapping[str, str]) -> None
    """Replace ``bind`` and ``getsockname`` of all sockets, if we were given some of the site."""
    given, control = environ.pop(SOCKETS, ""), environ.pop(CONTROL, "")
    if not given:
        return
    held = {}
    for number, host, port in [entry.split("/") for entry in given.split(",")]:
        close_on_exec(int(number))
        held[host, int(port)] = int(number)
    close_on_exec(int(control))
    ours = socket.fromfd(int(control), socket.AF_UNIX, socket.SOCK_STREAM)
    close_on_exec(ours.fileno())
    os.close(int(control))
    understudy = DeferredBind(held, ours)
    # In Python 2 as well, this is a class of Python's own, and can be altered.
    altered = socket.socket  # type: Any
    altered.bind = lambda one, address: understudy.bind(one, address)
    altered.getsockname = lambda one: understudy.getsockname(one)


def close_on_exec(number):
    # type: (int) -> None
    """Close the descriptor ``number`` in programs that the application starts."""
    fcntl.fcntl(number, fcntl.F_SETFD, fcntl.FD_CLOEXEC)


def is_tcp(one):
    # type: (Any) -> bool
    return one.family in LOOPBACK and one.type & 0xF == socket.SOCK_STREAM


def resolve(family, address):
    # type: (int, Any) -> Any
    """Return ``address`` with a numeric host; None if there is no such host."""
    host, port = address[0] or None, address[1]
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    try:
        return socket.getaddrinfo(host, port, family, kind, 0, flags)[0][4][:2]
    except socket.error:  # noqa: UP024  no OSError in Python 2
        return None


def looks_socket_up_each_turn(frame):
    # type: (Any) -> bool
    """Return whether the server that is being made looks its socket up at each turn.

    Those of the standard library do, Paste's among them, and waitress. Others may have
    passed the socket to the kernel, or to child processes.
    """
    while frame is not None:
        server = frame.f_locals.get("self")
        if has_attribute(server, "task_dispatcher") or has_attribute(server, "server_activate"):
            return True
        frame = frame.f_back
    return False


def has_attribute(server, name):
    # type: (Any, str) -> bool
    """Return whether ``server`` or its class has an attribute.

    ``hasattr`` would run its ``__getattr__``, which may fail before ``__init__`` has ended.
    """
    return name in getattr(server, "__dict__", ()) or hasattr(server.__class__, name)


def replace_descriptor(one, number):
    # type: (Any, int) -> None
    """Make ``one`` the socket ``number``, and close that number."""
    os.dup2(number, one.fileno())
    close_on_exec(one.fileno())
    os.close(number)


def wake(family, address):
    # type: (int, Any) -> None
    """Connect to the former address, so that a server that waits there looks again."""
    caller = socket.socket(family, socket.SOCK_STREAM)
    try:
        caller.settimeout(1)
        caller.connect(address)
    except socket.error:  # noqa: UP024
        pass  # it did not wait: nothing listens there any more
    finally:
        caller.close()


# SIGINT, and the requests in flight.


def on_interrupt(number, frame):
    # type: (int, FrameType | None) -> None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    is_accepting = "_handle_request_noblock" in function_names(frame)
    while frame is not None:
        server = frame.f_locals.get("self")  # type: Any
        if has_attribute(server, "thread_pool") and has_attribute(server, "handle_request"):
            server.thread_pool.shutdown = functools.partial(drain_paste, server)
            if is_accepting:  # it would drop the client that it has just accepted
                server.running = False
                return
            break
        if has_attribute(server, "_BaseServer__shutdown_request") and is_accepting:
            # Of the standard library: it ends its loop once this client is served.
            server._BaseServer__shutdown_request = True
            return
        if has_attribute(server, "task_dispatcher"):
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
    retire(listening)
    close_after_answers()
    looks = 0
    while looks < IDLE_LOOKS:
        time.sleep(PAUSE)
        looks = 0 if waitress_is_busy(server, channels) else looks + 1
    os.kill(os.getpid(), signal.SIGINT)


def retire(listening):
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
    prepare(os.environ)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
