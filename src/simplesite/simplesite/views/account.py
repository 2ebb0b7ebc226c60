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
from simplesite.passwords import SHORTEST_PASSWORD, TooManyPasswordsError, hash_password
from simplesite.redirects import is_local
from simplesite.signins import Failures, end_all
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
            _refused(self.request)
            return self._values(form)
        self.request.session.invalidate()
        new_csrf_token(self.request)
        self.request.session.flash(f"Welcome, {editor.name}.")
        return HTTPSeeOther(self._came_from(), headers=remember(self.request, editor))

    def _editor(self, form: Form) -> Editor | None:
        name = form.get("name")[:EDITOR_NAME_LENGTH]
        message = "The name or the password is wrong."
        return _checked_editor(self.request, form, name, "password", message)

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
            _refused(self.request)
            return {"form": form, "shortest": SHORTEST_PASSWORD}
        editor.password_hash = hash_password(form.get("new"))
        end_all(self.request.database, editor)
        self.request.session.flash("Your password was changed.")
        home = self.request.route_path("page", slugs=())
        return HTTPSeeOther(home, headers=remember(self.request, editor))

    def _check(self, form: Form) -> Editor | None:
        """Refuse a wrong or a weak password."""
        name = self.request.identity.name
        editor = _checked_editor(self.request, form, name, "current", "This is not your password.")
        if len(form.get("new")) < SHORTEST_PASSWORD:
            form.refuse("new", f"Use at least {SHORTEST_PASSWORD} characters.")
        form.limit("new", LONGEST_PASSWORD)
        if form.get("new") != form.get("again"):
            form.refuse("again", "This is not the same as above.")
        return editor


def _checked_editor(
    request: Request, form: Form, name: str, field: str, message: str
) -> Editor | None:
    """Return the editor called ``name``, if the password in ``field`` is theirs."""
    with request.registry["sessions"]() as session:
        failures = Failures(session, name, request.remote_addr or "")
        if minutes := failures.minutes_to_wait():
            request.response.retry_after = minutes * 60
            wait = "a minute" if minutes == 1 else f"{minutes} minutes"
            form.refuse(field, f"There were too many wrong passwords. Try again in {wait}.")
            return None
        try:
            password = form.get(field)[:LONGEST_PASSWORD]
            editor = authenticated_editor(request.database, name, password)
        except TooManyPasswordsError:
            request.response.retry_after = 1
            form.refuse(field, "Too many people are signing in at this moment. Try again.")
            return None
        if editor is None:
            failures.add()
            form.refuse(field, message)
        else:
            failures.forget()
        return editor


def _refused(request: Request) -> None:
    """Mark the response as one to a form that was not accepted, or that came too often."""
    refused(request, 429 if request.response.retry_after else 422)


def _typed_form(request: Request, *names: str) -> Form:
    """Return the form just as it was typed: in a password every character counts."""
    values = ((name, request.POST.get(name, "")) for name in names)
    return Form({name: value for name, value in values if isinstance(value, str)})
