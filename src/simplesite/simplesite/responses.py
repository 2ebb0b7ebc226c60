"""Headers of all responses: what browsers may keep, load and embed, and over what cookies go."""

from pyramid.config import Configurator
from pyramid.events import NewResponse

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self' https: data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def includeme(config: Configurator) -> None:
    """Add the headers to every response."""
    config.add_subscriber(_add_headers, NewResponse)


def _add_headers(event: NewResponse) -> None:
    headers = event.response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Content-Security-Policy", POLICY)
    # Pages differ between editors and visitors: no proxy is to mix them up.
    headers.setdefault("Cache-Control", "private, no-cache")
    if event.request.site.secure_cookies is None and event.request.scheme == "https":
        cookies = headers.getall("Set-Cookie")
        headers.pop("Set-Cookie", None)
        for cookie in cookies:
            headers.add("Set-Cookie", f"{cookie}; Secure")
