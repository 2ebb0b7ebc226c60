"""Connections to package indexes, several at once; standard library only.

The machine's certificates are read once, not for every connection: that takes 40 ms of a
processor each time.
"""

import http.client
import os
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 8
"""How many connections: about what a browser has to one host."""
SECONDS = 15.0
"""How long an answer may let us wait, as zc.buildout has it."""


class Https(urllib.request.HTTPSHandler):
    """Opens addresses of ``https:``, with certificates that are read once."""

    def __init__(self, certificates: str | None = None) -> None:
        """:param certificates: a file or folder of those to trust; None: the machine's."""
        super().__init__()
        self._certificates = certificates
        self._reading = threading.Lock()
        self._trusting: ssl.SSLContext | None = None

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        with self._reading:
            if self._trusting is None:
                self._trusting = trusting(self._certificates)
        return self.do_open(http.client.HTTPSConnection, req, context=self._trusting)


def trusting(certificates: str | None) -> ssl.SSLContext:
    """Return what checks a host's certificate against ``certificates``."""
    if certificates and os.path.isdir(certificates):
        return ssl.create_default_context(capath=certificates)
    return ssl.create_default_context(cafile=certificates)


def opener(certificates: str | None = None) -> urllib.request.OpenerDirector:
    """Return what opens addresses; it heeds the proxies that the environment names."""
    return urllib.request.build_opener(Https(certificates))


def at_once(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """Call ``work`` with each item, several at once; yield what each gives, as they end.

    :raises Exception: the first that ``work`` raises; what has not begun then never does
    """
    # Only what downloads shall take the time to import it.
    from concurrent.futures import ThreadPoolExecutor, as_completed

    # What sets it for each connection, and then puts it back, cannot do so several at once.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(before or SECONDS)
    hands = ThreadPoolExecutor(AT_ONCE)
    try:
        begun = {hands.submit(work, item): item for item in items}
        for ended in as_completed(begun):
            yield begun[ended], ended.result()
    finally:
        hands.shutdown(wait=False, cancel_futures=True)
        socket.setdefaulttimeout(before)
