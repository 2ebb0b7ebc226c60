"""The pages shown when something is not as it should be."""

import logging
import traceback

from pyramid.exceptions import BadCSRFOrigin, BadCSRFToken
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import (
    exception_view_config,
    forbidden_view_config,
    notfound_view_config,
)

from simplesite.forms import TooLongError, UnreadableFormError, tidy
from simplesite.views.pages import Values

TEMPLATE = "simplesite:templates/problem.jinja2"
# The texts somebody may have worked on for long.
KEPT_FIELDS = ("title", "summary", "body", "text")

log = logging.getLogger(__name__)


@notfound_view_config(renderer=TEMPLATE)
def show_not_found(request: Request) -> Values:
    """Say that there is no such page."""
    return _problem(
        request,
        404,
        "This page is not here",
        "It may have been moved or deleted, or the address has a slip in it. "
        "The pages of this site are all reached from the top.",
    )


@forbidden_view_config(renderer=TEMPLATE)
def show_forbidden(request: Request) -> Values | Response:
    """Ask visitors to sign in, and bring them back then."""
    if request.method in ("GET", "HEAD"):
        query = {"came_from": request.path_qs}
        return HTTPSeeOther(request.route_path("sign_in", _query=query))
    return _problem(
        request,
        403,
        "You are not signed in",
        "Your sign-in has ended, so nothing was saved. Sign in in another window and try again.",
    )


@exception_view_config(BadCSRFToken, renderer=TEMPLATE)
@exception_view_config(BadCSRFOrigin, renderer=TEMPLATE)
def show_foreign_post(request: Request) -> Values:
    """Refuse a form that this site did not give to this browser."""
    return _problem(
        request,
        400,
        "This form is no longer valid",
        "Nothing was saved. Either the form was open since before you signed in or out, "
        "or your browser keeps no cookies. Go back, load the page again and send it once more.",
    )


@exception_view_config(UnicodeDecodeError, renderer=TEMPLATE)
@exception_view_config(UnreadableFormError, renderer=TEMPLATE)
def show_unreadable(request: Request) -> Values:
    """Refuse an address or a form that is no text."""
    request.response.status_int = 400
    message = "The address or the form holds characters that are no text in UTF-8."
    return {"title": "This cannot be read", "message": message, "kept": {}}


@exception_view_config(TooLongError, renderer=TEMPLATE)
def show_too_long(request: Request) -> Values:
    """Refuse what is longer than anything on this site; it is not shown again."""
    request.response.status_int = 413
    message = "What was sent is longer than anything can be on this site. Nothing was saved."
    return {"title": "This is too long", "message": message, "kept": {}}


@exception_view_config(Exception, renderer="simplesite:templates/failure.jinja2")
def show_failure(request: Request) -> Values:
    """Say that the site failed, and tell those who can mend it."""
    request.response.status_int = 500
    details = "".join(traceback.format_exception(request.exception))
    log.error("Error in %s %s\n%s", request.method, request.path, details)
    if request.registry["error_mail"]:
        _mail(request, details)
    return {"details": details if request.site.debug else None}


def _mail(request: Request, details: str) -> None:
    """Send what happened, without anything the visitor entered."""
    name = type(request.exception).__name__
    text = f"{request.method} {request.path} on {request.host}\n\n{details}"
    request.registry["error_mail"].send(f"{request.site.title}: {name}", text)


def _problem(request: Request, status: int, title: str, message: str) -> Values:
    """Return what the page shows, with the texts that were entered: they are not to be lost."""
    request.response.status_int = status
    kept = {name: tidy(request.POST.get(name, "")) for name in KEPT_FIELDS}
    kept = {name: text for name, text in kept.items() if text}
    return {"title": title, "message": message, "kept": kept}
