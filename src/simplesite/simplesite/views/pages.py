"""The pages as visitors see them."""

from pyramid.httpexceptions import HTTPNotFound, HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import view_config
from sqlalchemy import func, select

from simplesite.forms import Form
from simplesite.models import Comment, Page
from simplesite.paging import Part, part_of, place_in

Values = dict[str, object]

MOST_COMMENTS = 50
MOST_PAGES_BELOW = 60


def page_values(request: Request, page: Page, comment_form: Form) -> Values:
    """Return what the template of a page shows."""
    children = request.tree.children(page.id)
    return {
        "page": page,
        "current": page.id,
        "form": comment_form,
        "below": part_of(children, request, "below", MOST_PAGES_BELOW),
        "comments": comments_part(request, page),
    }


def comments_part(request: Request, page: Page) -> Part[Comment]:
    """Return the part of a page's comments that is asked for."""
    total = count_comments(request, page)
    number, count = place_in(request, "comments", total, MOST_COMMENTS)
    wanted = select(Comment).where(Comment.page_id == page.id).order_by(Comment.id)
    wanted = wanted.limit(MOST_COMMENTS).offset((number - 1) * MOST_COMMENTS)
    return Part(request.database.scalars(wanted).all(), number, count, total, "comments")


def count_comments(request: Request, page: Page) -> int:
    """Return how many comments a page has."""
    counted = select(func.count()).where(Comment.page_id == page.id)
    return int(request.database.scalar(counted))


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
    return page_values(request, request.database.get(Page, heading.id), Form())
