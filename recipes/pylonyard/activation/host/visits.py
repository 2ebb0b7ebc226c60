"""Send requests to the sites of a release, at their public addresses."""

import http.client
import shlex
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

from pylonyard.activation.steps import Ask
from pylonyard.releases.contents import Site
from pylonyard.system import listeners
from pylonyard.system.errors import ActivationError

REQUEST_PATIENCE = 60.0
"""Seconds to wait for the answer to the first request."""


def request_site(step: Ask) -> None:
    """Make the first request to a site.

    :raises ActivationError: if there is no answer, or one of status 5xx
    """
    name, address = step.site.server_name, step.site.listen_address
    status = request(address, step.port, name, secure=step.is_secure)
    if status >= 500:
        raise ActivationError(f"{step.url(name)} answers {status}")


def request(
    address: str,
    port: int,
    host: str,
    *,
    secure: bool = False,
    path: str = "/",
    timeout: float = REQUEST_PATIENCE,
) -> int:
    """Return the status of the answer to ``GET path`` for ``host``.

    :param timeout: in seconds, however the answer trickles
    :raises ActivationError: if there is none
    """
    kind: type[http.client.HTTPConnection] = http.client.HTTPConnection
    connection = kind(address, port, timeout=timeout)
    if secure:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
    try:
        headers = {"Host": host, "Connection": "close"}
        return listeners.request_status(connection, path, headers, timeout)
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or error.__class__.__name__
        raise ActivationError(f"{address}:{port} does not answer: {why}") from error
    finally:
        connection.close()


# The last lines of an activation: the public address of a site, which was just requested.


VISIT_PATIENCE = 15.0
"""Seconds to wait for a later answer: the site has answered once already."""

LOOK_UP_PATIENCE = 4.0
"""Seconds to wait for a name server."""

_USUAL = {False: 80, True: 443}

Visit = Callable[[Site], int]
Resolve = Callable[[str], list[str]]


def address_lines(
    site: Site, visit: Visit | None = None, resolve: Resolve | None = None
) -> Iterator[str]:
    """Yield the address to open, and the reason if it does not work yet.

    :param visit: returns the status that the site answers with
    :param resolve: returns the addresses that a name leads to
    """
    url = url_of(site)
    try:
        status = (visit or first_status)(site)
    except ActivationError as error:
        yield f"{site.name}: {url} does not answer: {error}; bin/pylonyard doctor says why"
        return
    if status >= 500:
        yield f"{site.name}: {url} answers {status}; bin/pylonyard doctor says why"
        return
    leads = (resolve or addresses)(site.server_name) if site.mode else ["127.0.0.1"]
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
    """Return the URL of a site."""
    if not site.mode:
        return f"http://{site.host}:{site.port}/"
    port, is_secure = site.places[-1]
    end = "" if port == _USUAL[is_secure] else f":{port}"
    return f"{'https' if is_secure else 'http'}://{site.server_name}{end}/"


def first_status(site: Site) -> int:
    """Return the status of the answer to a client's first request.

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
    """Return the addresses of ``name``; none if the name server is too slow."""
    found: list[str] = []

    def resolve() -> None:
        try:
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(LOOK_UP_PATIENCE)
    return list(found)


def is_here(address: str) -> bool:
    """Return whether an address is this machine's: a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind((address, 0))
    except OSError:
        return False
    return True
