"""The sockets of a site: bound before its server is there, handed from one to the next."""

import socket
from collections.abc import Iterable, Iterator

from pylonyard.server.errors import NOT_CONFIGURED, ServerError
from pylonyard.server.settings import Settings

BACKLOG = 1024
"""Connections that may wait, while one server takes the place of another."""

FAMILIES = (socket.AF_INET, socket.AF_INET6)

Place = tuple[socket.AddressFamily, tuple[str, int]]


def places(settings: Settings) -> list[Place]:
    """Return each address of the site.

    :raises ServerError: if its host stands for none
    """
    try:
        kind = socket.SOCK_STREAM
        found = socket.getaddrinfo(settings.host, settings.port, type=kind)
    except OSError as error:
        raise ServerError(f"host {settings.host}: {error.strerror}", NOT_CONFIGURED) from error
    return [
        (family, (str(address[0]), int(address[1])))
        for family, _, _, _, address in dict.fromkeys(found)
        if family in FAMILIES
    ]


def bound(settings: Settings) -> list[socket.socket]:
    """Return sockets with the addresses of the site, which do not listen yet.

    :raises ServerError: if an address cannot be had
    """
    wanted, sockets = places(settings), []
    for place in wanted:
        try:
            sockets.append(_bound(place, alone=len(wanted) == 1))
        except OSError as error:
            if place is not wanted[-1] or sockets:
                continue  # such as ::1 of localhost, on a machine without IPv6
            why = f"cannot listen on port {settings.port} of {settings.host}: {error.strerror}"
            raise ServerError(why) from error
    return sockets


def _bound(place: Place, *, alone: bool) -> socket.socket:
    family, address = place
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not alone:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        # Several processes look at it, and one that comes too late must not wait.
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return one


def fit(sockets: Iterable[socket.socket], settings: Settings) -> bool:
    """Whether ``sockets`` are those of the site as it is to be served now."""
    have = {(one.family, one.getsockname()[:2]) for one in sockets}
    return bool(have) and have <= set(places(settings))


def described(sockets: Iterable[socket.socket]) -> Iterator[str]:
    """Yield what a server is told of each of ``sockets``: ``7/127.0.0.1/8080``."""
    for one in sockets:
        host, port = one.getsockname()[:2]
        yield f"{one.fileno()}/{host}/{port}"


def close(sockets: list[socket.socket]) -> None:
    """Close ``sockets``, in this process, and forget them."""
    while sockets:
        sockets.pop().close()


def refuse(sockets: Iterable[socket.socket]) -> None:
    """Let nobody wait for an answer; they can be listened on again."""
    for one in sockets:
        # A second time, Linux says ENOTCONN, and yet closes each connection that is
        # accepted on this socket ever after.
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            one.shutdown(socket.SHUT_RDWR)
