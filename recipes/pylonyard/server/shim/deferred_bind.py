"""Have a server listen at a temporary port first, and later on the site's sockets.

This runs in the application's process, before the application. It is valid in Python 2.7 as
well, and imports nothing but the standard library.

The supervisor holds the site's sockets. When the server binds the address of one of them,
it gets a temporary port instead. There the supervisor tests it, while another server may
still serve the site. When the supervisor permits it, the site's socket replaces the
temporary one. The messages, a line each::

    at 7 127.0.0.1 34567    the server listens there, instead of on socket 7
    waits 7                 a server of an unknown kind waits for socket 7
    apart                   the server waits for the port, at an address without a socket
    go                      the supervisor permits it: its only message
    there                   the server serves the site
"""

import fcntl
import os
import socket
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Used in comments, which Python 2 can read.
    from collections.abc import MutableMapping  # noqa: F401
    from typing import Any  # noqa: F401

SOCKETS = "PYLONYARD_SOCKETS"
"""Variable: ``7/127.0.0.1/8080``, a socket's number and address, commas between."""

CONTROL = "PYLONYARD_CONTROL"
"""Variable: the number of the socket that leads to the supervisor."""

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

_bind = socket.socket.bind
_getsockname = socket.socket.getsockname


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
