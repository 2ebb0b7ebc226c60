"""The layout: what every page shows around its own content."""

from collections.abc import Mapping

from pyramid.config import Configurator
from pyramid.request import Request

from simplesite.pagetree import PageTree, load_tree


def includeme(config: Configurator) -> None:
    """Give the requests what the templates ask of them."""
    config.add_request_method(_tree, "tree", reify=True)
    config.add_request_method(page_path)
    config.add_request_method(messages)


def page_path(
    request: Request,
    page_id: int,
    anchor: str | None = None,
    query: Mapping[str, str] | None = None,
) -> str:
    """Return the address of a page."""
    slugs = request.tree.slugs(page_id)
    path: str = request.route_path("page", slugs=slugs, _anchor=anchor, _query=query)
    return path


def messages(request: Request) -> list[str]:
    """Return the messages left for the visitor, each shown once."""
    # Taking messages writes the session cookie: a page without any is to leave it alone.
    if not request.session.peek_flash():
        return []
    taken: list[str] = request.session.pop_flash()
    return taken


def _tree(request: Request) -> PageTree:
    return load_tree(request.database)
