"""Whether a server answers HTTP."""

import http.client
import ipaddress


def reachable(host: str) -> str:
    """Return the address to ask for a server that listens on ``host``."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def answers(host: str, port: int, path: str, timeout: float) -> bool:
    """Whether ``GET path`` is answered within ``timeout`` seconds, by any status."""
    return status(host, port, path, timeout) is not None


def status(host: str, port: int, path: str, timeout: float, name: str = "") -> int | None:
    """Return the status that answers ``GET path`` within ``timeout`` seconds, if any.

    :param name: what to call the server, with its port; default: by its address
    """
    connection = http.client.HTTPConnection(reachable(host), port, timeout=timeout)
    headers = {"Connection": "close", **({"Host": name} if name else {})}
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
