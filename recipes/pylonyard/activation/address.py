"""The address at which visitors find a site, visited just now: what an activation ends with."""

import shlex
import socket
import threading
from collections.abc import Callable, Iterator

from pylonyard.activation.errors import ActivationError
from pylonyard.activation.httpd import request
from pylonyard.activation.sources import Site

VISIT_PATIENCE = 15.0
"""Seconds that an answer may take: the site answered once already."""

LOOK_UP_PATIENCE = 4.0
"""Seconds that a name server may take."""

_USUAL = {False: 80, True: 443}

Visit = Callable[[Site], int]
Look = Callable[[str], list[str]]


def told(site: Site, visit: Visit | None = None, look: Look | None = None) -> Iterator[str]:
    """Yield the address to open, and what is in the way of those who do.

    :param visit: returns the status that the site answers with
    :param look: returns the addresses that a name leads to
    """
    url = url_of(site)
    try:
        status = (visit or visited)(site)
    except ActivationError as error:
        yield f"{site.name}: {url} does not answer: {error}; bin/pylonyard doctor tells why"
        return
    if status >= 500:
        yield f"{site.name}: {url} answers {status}; bin/pylonyard doctor tells why"
        return
    leads = (look or addresses)(site.server_name) if site.mode else ["127.0.0.1"]
    if any(map(is_here, leads)):
        yield f"{site.name}: open {url} (visited just now: it answers {status})"
        return
    where = f"leads to {', '.join(leads)}, not to this machine" if leads else "leads nowhere yet"
    yield (
        f"{site.name}: answers {status} as {url}, but the name {where}: see to that in DNS, "
        "or set server-name in [site]"
    )
    yield f"{site.name}: until then, on this machine: {_command(site)}"


def url_of(site: Site) -> str:
    """Return what a visitor types."""
    if not site.mode:
        return f"http://{site.host}:{site.port}/"
    port, is_secure = site.places[-1]
    end = "" if port == _USUAL[is_secure] else f":{port}"
    return f"{'https' if is_secure else 'http'}://{site.server_name}{end}/"


def visited(site: Site) -> int:
    """Return the status of the answer to the visitor's first request.

    :raises ActivationError: if there is none
    """
    if not site.mode:
        return request(site.host, site.port, site.host, timeout=VISIT_PATIENCE)
    port, is_secure = site.places[-1]
    address, name = site.listen_address, site.server_name
    return request(address, port, name, secure=is_secure, timeout=VISIT_PATIENCE)


def _command(site: Site) -> str:
    port, _ = site.places[-1]
    there = f"{site.server_name}:{port}:{site.listen_address}"
    return shlex.join(["curl", "--include", "--resolve", there, url_of(site)])


def addresses(name: str) -> list[str]:
    """Return the addresses that ``name`` leads to, none if that is not known in time."""
    found: list[str] = []

    def look() -> None:
        try:
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(LOOK_UP_PATIENCE)
    return list(found)


def is_here(address: str) -> bool:
    """Tell whether an address is this machine's: a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind((address, 0))
    except OSError:
        return False
    return True
