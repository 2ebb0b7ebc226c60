"""Arranging pages: their order, their parents, and deleting them."""

from pyramid.httpexceptions import HTTPNotFound, HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import view_config, view_defaults

from simplesite import arrangement, pageform
from simplesite.forms import Form, posted_form, refused
from simplesite.models import Page
from simplesite.pagetree import Heading, PageTree, load_tree
from simplesite.paging import part_of
from simplesite.views.pages import Values, wanted_page

STEPS = {"up": -1, "down": 1}
MOST_PAGES = 100


@view_config(
    route_name="pages",
    request_method="GET",
    permission="edit",
    renderer="simplesite:templates/pages.jinja2",
)
def show_all(request: Request) -> Values:
    """Show all pages as a tree, with what can be done to each."""
    return {"outline": part_of(request.tree.outline(), request, "part", MOST_PAGES)}


@view_config(route_name="page_shift", request_method="POST", permission="edit")
def shift_page(request: Request) -> Response:
    """Move a page up or down among its siblings."""
    step = STEPS.get(request.POST.get("direction", ""), 0)
    tree = arrangement.locked_tree(request.database)
    page = _page_below_home(request)
    arrangement.shift(request.database, tree, page.id, step)
    return HTTPSeeOther(_place_in_outline(request, page))


@view_defaults(
    route_name="page_move", permission="edit", renderer="simplesite:templates/move.jinja2"
)
class MovePage:
    """The form that puts a page under another parent."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @view_config(request_method="GET")
    def show(self) -> Values:
        """Show where the page is, and where it can go."""
        page = _page_below_home(self.request)
        return self._values(page, Form({"parent_id": str(page.parent_id)}))

    @view_config(request_method="POST")
    def save(self) -> Values | Response:
        """Put the page where the editor chose."""
        form = posted_form(self.request, "parent_id")
        tree = arrangement.locked_tree(self.request.database)
        page = _page_below_home(self.request)
        parent = pageform.chosen_page(form, tree, "parent_id")
        if parent:
            problem = _move_problem(tree, page, parent)
            if problem:
                form.refuse("parent_id", problem)
        if parent is None or not form.valid:
            refused(self.request)
            return self._values(page, form)
        if parent.id != page.parent_id:
            arrangement.place_last(tree, page, parent.id)
            self.request.session.flash(f"“{page.title}” is now under “{parent.title}”.")
        return HTTPSeeOther(_place_in_outline(self.request, page))

    def _values(self, page: Page, form: Form) -> Values:
        parents = self.request.tree.possible_parents(page.id)
        return {"page": page, "current": page.id, "form": form, "parents": parents}


@view_defaults(
    route_name="page_delete", permission="edit", renderer="simplesite:templates/confirm.jinja2"
)
class DeletePage:
    """The question before a page is deleted."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @view_config(request_method="GET")
    def ask(self) -> Values:
        """Show what would be deleted."""
        page = _page_below_home(self.request)
        lost = [heading.title for _, heading in self.request.tree.walk(page.id)]
        more = [f"and {len(lost) - MOST_PAGES} more"] if len(lost) > MOST_PAGES else []
        return {
            "current": page.id,
            "question": f"Delete “{page.title}”?",
            "explanation": "This cannot be undone. Its comments are deleted as well"
            + (", and so are the pages below it:" if lost[1:] else "."),
            "items": [*lost[1:MOST_PAGES], *more],
            "button": "Delete the page" if not lost[1:] else f"Delete all {len(lost)} pages",
            "way_back": self.request.page_path(page.id),
        }

    @view_config(request_method="POST")
    def delete(self) -> Response:
        """Delete the page and show the one it was under."""
        tree = arrangement.locked_tree(self.request.database)
        page = _page_below_home(self.request)
        title, parent_id = page.title, page.parent_id
        above = self.request.page_path(parent_id)
        arrangement.remove(self.request.database, page.id)
        count = len(list(tree.walk(page.id)))
        below = "" if count == 1 else " with all pages below it"
        self.request.session.flash(f"“{title}” was deleted{below}.")
        return HTTPSeeOther(above)


def _place_in_outline(request: Request, page: Page) -> str:
    """Return the address of a page among all, as they are arranged now."""
    tree = load_tree(request.database)
    order = [heading.id for _, heading in tree.outline()]
    part = order.index(page.id) // MOST_PAGES + 1
    query = {"part": str(part)} if part > 1 else None
    path: str = request.route_path("pages", _query=query, _anchor=f"page-{page.id}")
    return path


def _page_below_home(request: Request) -> Page:
    """Return the page of the address; the home page neither moves nor goes."""
    page = wanted_page(request)
    if page.parent_id is None:
        raise HTTPNotFound
    return page


def _move_problem(tree: PageTree, page: Page, parent: Heading) -> str | None:
    """Return why ``page`` cannot be put under ``parent``."""
    if parent in [heading for _, heading in tree.walk(page.id)]:
        return "A page cannot be under itself. Choose another one."
    return pageform.slug_problem(page.slug, tree, parent, page.id)
