"""The account of an editor: signing in and out, and the password."""

from pyramid.csrf import new_csrf_token
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import forget, remember
from pyramid.view import view_config, view_defaults

from simplesite.editors import authenticated_editor
from simplesite.forms import Form, refused
from simplesite.models import EDITOR_NAME_LENGTH, Editor
from simplesite.passwords import SHORTEST_PASSWORD, hash_password
from simplesite.redirects import is_local
from simplesite.views.pages import Values

# Each try costs much memory and time on purpose, however long the password is.
LONGEST_PASSWORD = 200


@view_defaults(route_name="sign_in", renderer="simplesite:templates/sign_in.jinja2")
class SignIn:
    """The form to sign in."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @view_config(request_method="GET")
    def show(self) -> Values:
        """Show the form."""
        return self._values(Form())

    @view_config(request_method="POST")
    def sign_in(self) -> Values | Response:
        """Sign the editor in and bring them to where they wanted to go."""
        form = _typed_form(self.request, "name", "password")
        form.values["name"] = form.get("name").strip()
        form.require("name", "Enter your name.")
        form.require("password", "Enter your password.")
        editor = self._editor(form) if form.valid else None
        if editor is None:
            refused(self.request)
            return self._values(form)
        self.request.session.invalidate()
        new_csrf_token(self.request)
        self.request.session.flash(f"Welcome, {editor.name}.")
        return HTTPSeeOther(self._came_from(), headers=remember(self.request, editor))

    def _editor(self, form: Form) -> Editor | None:
        name = form.get("name")[:EDITOR_NAME_LENGTH]
        password = form.get("password")[:LONGEST_PASSWORD]
        editor = authenticated_editor(self.request.database, name, password)
        if editor is None:
            form.refuse("password", "The name or the password is wrong.")
        return editor

    def _came_from(self) -> str:
        """Return the address to go on with: only one of this site."""
        came_from: str = self.request.params.get("came_from", "")
        home: str = self.request.route_path("page", slugs=())
        return came_from if is_local(came_from) else home

    def _values(self, form: Form) -> Values:
        return {"form": form, "came_from": self._came_from()}


@view_config(route_name="sign_out", request_method="POST")
def sign_out(request: Request) -> Response:
    """Sign out and show the home page."""
    request.session.invalidate()
    request.session.flash("You are signed out.")
    return HTTPSeeOther(request.route_path("page", slugs=()), headers=forget(request))


@view_defaults(
    route_name="password", permission="edit", renderer="simplesite:templates/password.jinja2"
)
class ChangePassword:
    """The form for a new password."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @view_config(request_method="GET")
    def show(self) -> Values:
        """Show the form."""
        return {"form": Form(), "shortest": SHORTEST_PASSWORD}

    @view_config(request_method="POST")
    def change(self) -> Values | Response:
        """Change the password; every other browser is signed out by that."""
        form = _typed_form(self.request, "current", "new", "again")
        editor = self._check(form)
        if editor is None or not form.valid:
            refused(self.request)
            return {"form": form, "shortest": SHORTEST_PASSWORD}
        editor.password_hash = hash_password(form.get("new"))
        self.request.session.flash("Your password was changed.")
        home = self.request.route_path("page", slugs=())
        return HTTPSeeOther(home, headers=remember(self.request, editor))

    def _check(self, form: Form) -> Editor | None:
        """Refuse a wrong or a weak password."""
        name, current = self.request.identity.name, form.get("current")[:LONGEST_PASSWORD]
        editor = authenticated_editor(self.request.database, name, current)
        if editor is None:
            form.refuse("current", "This is not your password.")
        if len(form.get("new")) < SHORTEST_PASSWORD:
            form.refuse("new", f"Use at least {SHORTEST_PASSWORD} characters.")
        form.limit("new", LONGEST_PASSWORD)
        if form.get("new") != form.get("again"):
            form.refuse("again", "This is not the same as above.")
        return editor


def _typed_form(request: Request, *names: str) -> Form:
    """Return the form just as it was typed: in a password every character counts."""
    values = ((name, request.POST.get(name, "")) for name in names)
    return Form({name: value for name, value in values if isinstance(value, str)})
