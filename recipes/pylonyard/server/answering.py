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
    connection = http.client.HTTPConnection(reachable(host), port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
