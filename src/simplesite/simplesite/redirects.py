"""Redirects: kept within the site, whatever scheme a proxy speaks with the visitor."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class RelativeRedirects:
    """Middleware that takes scheme and host off redirects to the site itself.

    WebOb completes every redirect with the scheme the server sees. Behind a proxy that ends
    TLS this is not the scheme of the visitor.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer the request as the application does, with relative redirects."""

        def start_relative(status: str, headers: Headers, *error: Any) -> Any:
            return start_response(status, _relative_headers(headers, environ), *error)

        return self._application(environ, start_relative)


def is_local(address: str) -> bool:
    """Return whether ``address`` is a path of this site that no browser takes for another's."""
    if not address.startswith("/") or address.startswith("//") or "\\" in address:
        return False
    return all(character.isprintable() and character != " " for character in address)


def _relative_headers(headers: Headers, environ: Environ) -> Headers:
    return [
        (name, _relative(value, environ)) if name.lower() == "location" else (name, value)
        for name, value in headers
    ]


def _relative(location: str, environ: Environ) -> str:
    parts = urlsplit(location)
    if _plain_host(parts.netloc) != _plain_host(_host(environ)):
        return location
    path = parts._replace(scheme="", netloc="").geturl() or "/"
    return path if is_local(path) else location


def _host(environ: Environ) -> str:
    own: str = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return own


def _plain_host(netloc: str) -> str:
    """Return a host without the port that its scheme implies, as WebOb writes it."""
    return netloc.removesuffix(":80").removesuffix(":443").lower()
