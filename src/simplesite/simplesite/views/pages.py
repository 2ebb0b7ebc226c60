"""The pages as visitors see them."""

from pyramid.httpexceptions import HTTPNotFound, HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import view_config

from simplesite.forms import Form
from simplesite.models import Page

Values = dict[str, object]


def page_values(page: Page, comment_form: Form) -> Values:
    """Return what the template of a page shows."""
    return {"page": page, "current": page.id, "form": comment_form}


def wanted_page(request: Request) -> Page:
    """Return the page whose number is in the address."""
    page: Page | None = request.database.get(Page, int(request.matchdict["page_id"]))
    if page is None:
        raise HTTPNotFound
    return page


@view_config(route_name="page", request_method="GET", renderer="simplesite:templates/page.jinja2")
def show_page(request: Request) -> Values | Response:
    """Show the page at the address."""
    heading = request.tree.find(request.matchdict["slugs"])
    if heading is None:
        raise HTTPNotFound
    path = request.page_path(heading.id)
    if request.path != path:
        return HTTPSeeOther(path)
    return page_values(request.database.get(Page, heading.id), Form())
