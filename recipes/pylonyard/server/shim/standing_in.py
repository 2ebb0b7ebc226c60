"""Have a server listen apart at first, then in the place that is kept for it.

Runs in the application's process, before the application: valid in Python 2.7 as
well, and imports nothing but the standard library.

The supervisor holds the site's sockets. What the server binds to the address of one
of them listens at a port of its own instead, where the supervisor asks it, while
another server may still serve the site. Told to go, it has the site's socket in that
port's stead. What is said on the way, a line each::

    at 7 127.0.0.1 34567    it listens there, in the stead of socket 7
    waits 7                 a server that we do not know waits to have socket 7
    apart                   it waits to have the port, at another address than ours
    go                      the supervisor's only word
    there                   it serves the site
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
"""Variable: the number of the socket on which we talk to the supervisor."""

HOME = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

_bind = socket.socket.bind
_getsockname = socket.socket.getsockname


class Understudy:
    """What this process has of the site, until it serves it."""

    def __init__(self, held, control):
        # type: (dict[tuple[str, int], int], Any) -> None
        self.held = held
        """Addresses, and the numbers of the sockets that are bound to them."""
        self.control = control
        self.has_word = False
        self.standing = []  # type: list[tuple[Any, tuple[str, int]]]
        """Sockets of the server, and the address that each is to have."""

    def bind(self, one, address):
        # type: (Any, Any) -> None
        """Do what the server takes for ``one.bind(address)``."""
        place = numeric(one.family, address) if is_tcp(one) else None
        if place in self.held and is_known(sys._getframe(1)):
            self.stand_in(one, place)
        elif place in self.held:
            self.ask("waits", self.held[place])
            take(one, self.held.pop(place))
            if one.gettimeout() is None:  # or its accept would not wait
                one.setblocking(True)
            self.say("there")
        elif place and place[1] in [port for _, port in self.held]:
            self.ask("apart")
            while self.held:
                os.close(self.held.popitem()[1])
            _bind(one, address)
            self.say("there")
        else:
            _bind(one, address)

    def getsockname(self, one):
        # type: (Any) -> Any
        """Tell the server the address that it is going to have."""
        found = _getsockname(one)
        for standing, place in self.standing:
            if standing is one:
                return place + found[2:]
        return found

    def stand_in(self, one, place):
        # type: (Any, tuple[str, int]) -> None
        _bind(one, (HOME[one.family], 0))
        self.standing.append((one, place))
        host, port = _getsockname(one)[:2]
        self.say("at", self.held[place], host, port)
        if len(self.standing) == 1:
            waiting = threading.Thread(target=self.step_in)
            waiting.daemon = True
            waiting.start()

    def step_in(self):
        # type: () -> None
        """Wait for the word, and take the places; at the supervisor's end, ours is near."""
        if self.control.recv(3):
            self.has_word = True
            for one, place in self.standing:
                before = _getsockname(one)
                take(one, self.held.pop(place))
                wake(one.family, before)
            self.standing = []
            self.say("there")

    def ask(self, *words):
        # type: (*Any) -> None
        self.say(*words)
        if not self.has_word:  # it is given once
            self.control.recv(3)
            self.has_word = True

    def say(self, *words):
        # type: (*Any) -> None
        line = " ".join(str(word) for word in words)
        self.control.sendall((line + "\n").encode("ascii"))


def prepare(environ):
    # type: (MutableMapping[str, str]) -> None
    """Have servers that are made from now on stand in, if we were given sockets."""
    given, control = environ.pop(SOCKETS, ""), environ.pop(CONTROL, "")
    if not given:
        return
    held = {}
    for number, host, port in [entry.split("/") for entry in given.split(",")]:
        keep_private(int(number))
        held[host, int(port)] = int(number)
    keep_private(int(control))
    ours = socket.fromfd(int(control), socket.AF_UNIX, socket.SOCK_STREAM)
    keep_private(ours.fileno())
    os.close(int(control))
    understudy = Understudy(held, ours)
    # In Python 2 as well, this is a class of Python's own, and can be altered.
    altered = socket.socket  # type: Any
    altered.bind = lambda one, address: understudy.bind(one, address)
    altered.getsockname = lambda one: understudy.getsockname(one)


def keep_private(number):
    # type: (int) -> None
    """Let no program that the application starts have the descriptor ``number``."""
    fcntl.fcntl(number, fcntl.F_SETFD, fcntl.FD_CLOEXEC)


def is_tcp(one):
    # type: (Any) -> bool
    return one.family in HOME and one.type & 0xF == socket.SOCK_STREAM


def numeric(family, address):
    # type: (int, Any) -> Any
    """Return ``address`` as a socket tells it, without names; None if it is none."""
    host, port = address[0] or None, address[1]
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    try:
        return socket.getaddrinfo(host, port, family, kind, 0, flags)[0][4][:2]
    except socket.error:  # noqa: UP024  no OSError in Python 2
        return None


def is_known(frame):
    # type: (Any) -> bool
    """Whether the server that is being made looks its socket up at each turn.

    Those of the standard library do, Paste's among them, and waitress. Another may
    have told the kernel, or children of its own, which socket it waits for.
    """
    while frame is not None:
        server = frame.f_locals.get("self")
        if has(server, "task_dispatcher") or has(server, "server_activate"):
            return True
        frame = frame.f_back
    return False


def has(server, name):
    # type: (Any, str) -> bool
    """Whether ``server`` has an attribute, itself or by its class.

    ``hasattr`` would run its ``__getattr__``, which one that is being made may not bear.
    """
    return name in getattr(server, "__dict__", ()) or hasattr(server.__class__, name)


def take(one, number):
    # type: (Any, int) -> None
    """Have ``one`` be the socket ``number``, which is closed."""
    os.dup2(number, one.fileno())
    keep_private(one.fileno())
    os.close(number)


def wake(family, address):
    # type: (int, Any) -> None
    """Have the server look again, if it waits for what it had before."""
    caller = socket.socket(family, socket.SOCK_STREAM)
    try:
        caller.settimeout(1)
        caller.connect(address)
    except socket.error:  # noqa: UP024
        pass  # it did not wait: nobody is there any more
    finally:
        caller.close()
