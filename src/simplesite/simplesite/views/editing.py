"""Writing pages: adding new ones and changing what they say."""

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import view_config, view_defaults

from simplesite import pageform
from simplesite.arrangement import locked_tree, place_last
from simplesite.forms import Form, posted_form, refused
from simplesite.models import Page
from simplesite.views.pages import Values, wanted_page

TEMPLATE = "simplesite:templates/page_form.jinja2"


@view_defaults(route_name="page_add", permission="edit", renderer=TEMPLATE)
class AddPage:
    """The form for a new page."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @view_config(request_method="GET")
    def show(self) -> Values:
        """Show the empty form, for a page under the one the editor came from."""
        return self._values(Form({"parent_id": self.request.GET.get("parent", "")}))

    @view_config(request_method="POST")
    def save(self) -> Values | Response:
        """Add the page."""
        form = posted_form(self.request, *pageform.FIELDS)
        tree = locked_tree(self.request.database)
        parent = pageform.chosen_page(form, tree, "parent_id")
        pageform.check_texts(form)
        pageform.check_slug(form, tree, parent, None)
        if parent is None or not form.valid:
            refused(self.request)
            return self._values(form)
        page = Page()
        pageform.store(form, page)
        place_last(tree, page, parent.id)
        return _saved(self.request, page)

    def _values(self, form: Form) -> Values:
        parents = self.request.tree.outline()
        return {"form": form, "parents": parents, "page": None, "theirs": None}


@view_defaults(route_name="page_edit", permission="edit", renderer=TEMPLATE)
class EditPage:
    """The form for a page that is there."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @view_config(request_method="GET")
    def show(self) -> Values:
        """Show what the page holds."""
        page = wanted_page(self.request)
        return self._values(page, pageform.filled_form(page))

    @view_config(request_method="POST")
    def save(self) -> Values | Response:
        """Change the page, unless somebody else did in the meantime."""
        form = posted_form(self.request, *pageform.FIELDS)
        tree = locked_tree(self.request.database)
        page = wanted_page(self.request)
        pageform.check_texts(form)
        if page.parent_id is not None:
            pageform.check_slug(form, tree, tree.get(page.parent_id), page.id)
        if form.get("version") != str(page.version):
            return self._conflict(page, form)
        if not form.valid:
            refused(self.request)
            return self._values(page, form)
        pageform.store(form, page)
        page.version += 1
        return _saved(self.request, page)

    def _conflict(self, page: Page, form: Form) -> Values:
        """Show both texts; who then saves again has seen what they replace."""
        refused(self.request, status=409)
        form.values["version"] = str(page.version)
        return {**self._values(page, form), "theirs": pageform.filled_form(page)}

    def _values(self, page: Page, form: Form) -> Values:
        return {"form": form, "page": page, "current": page.id, "parents": [], "theirs": None}


def _saved(request: Request, page: Page) -> Response:
    """Show the page as it is now."""
    request.database.add(page)
    request.database.flush()
    request.session.flash(f"The page “{page.title}” was saved.")
    return HTTPSeeOther(request.page_path(page.id))
