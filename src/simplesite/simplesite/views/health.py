"""The health of the site, for those who watch it."""

import logging

from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import view_config
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from simplesite.models import Page

log = logging.getLogger(__name__)


@view_config(route_name="healthz", request_method="GET")
def show_health(request: Request) -> Response:
    """Answer that all is well, or that the database cannot be read."""
    try:
        ready = request.database.scalar(select(Page.id).limit(1)) is not None
    except SQLAlchemyError:
        log.exception("The database cannot be read")
        ready = False
    if ready:
        return Response("ok\n", content_type="text/plain", charset="utf-8")
    text = "not ready: the database cannot be read or was not set up\n"
    return Response(text, 503, content_type="text/plain", charset="utf-8")
