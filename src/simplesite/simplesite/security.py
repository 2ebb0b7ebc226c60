"""Signed-in editors, and permissions."""

from dataclasses import dataclass
from typing import Any

from pyramid.authentication import AuthTktCookieHelper
from pyramid.request import Request, RequestLocalCache
from pyramid.security import Allowed, Denied

from simplesite import signins
from simplesite.editors import password_stamp
from simplesite.models import Editor

SIGNED_IN_SECONDS = 12 * 3600
RENEWED_AFTER_SECONDS = 600

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Identity:
    """The editor who is signed in."""

    id: int
    name: str
    token: str
    """The one of this sign-in."""


class SitePolicy:
    """Editors may do everything, visitors may read and comment."""

    def __init__(self, secret: str, secure_cookies: bool) -> None:
        self._tickets = AuthTktCookieHelper(
            secret,
            cookie_name="simplesite_editor",
            secure=secure_cookies,
            timeout=SIGNED_IN_SECONDS,
            reissue_time=RENEWED_AFTER_SECONDS,
            http_only=True,
            wild_domain=False,
            hashalg="sha512",
            samesite="Lax",
        )
        self._identities = RequestLocalCache(self._load_identity)

    def identity(self, request: Request) -> Identity | None:
        """Return who is signed in."""
        found: Identity | None = self._identities.get_or_create(request)
        return found

    def authenticated_userid(self, request: Request) -> int | None:
        """Return the number of the editor who is signed in."""
        identity = self.identity(request)
        return identity.id if identity else None

    def permits(self, request: Request, context: object, permission: str) -> Any:
        """Return whether the request may do what needs ``permission``."""
        if self.identity(request):
            return Allowed("editors may do everything")
        return Denied("only editors may do this")

    def remember(self, request: Request, userid: Editor, **_options: object) -> Headers:
        """Sign the editor ``userid`` in, and return the headers with the cookie."""
        token = signins.begin(request.database, userid)
        tokens = (f"{password_stamp(userid)}-{token}",)
        headers: Headers = self._tickets.remember(request, userid.id, tokens=tokens)
        return headers

    def forget(self, request: Request, **_options: object) -> Headers:
        """End the sign-in, and return the headers that take its cookie back."""
        if identity := self.identity(request):
            signins.end(request.database, identity.token)
        headers: Headers = self._tickets.forget(request)
        return headers

    def _load_identity(self, request: Request) -> Identity | None:
        ticket = self._tickets.identify(request)
        if ticket is None:
            return None
        editor = request.database.get(Editor, ticket["userid"])
        stamp, _, token = "".join(ticket["tokens"]).partition("-")
        if editor is None or password_stamp(editor) != stamp:
            return None
        found = signins.find(request.database, token)
        if found is None or found.editor_id != editor.id:
            return None
        return Identity(editor.id, editor.name, token)
