"""A small site of editable pages with comments."""

from collections.abc import Mapping
from typing import Any

from simplesite.application import make_application
from simplesite.redirects import RelativeRedirects

__all__ = ["main"]


def main(global_conf: Mapping[str, str], **local_conf: str) -> RelativeRedirects:
    """Return the site as a WSGI application, as ``paste.app_factory`` asks for it."""
    own_values: dict[str, Any] = dict(local_conf)
    return RelativeRedirects(make_application({**global_conf, **own_values}, own_values))
