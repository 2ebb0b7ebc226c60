import logging
import sys

from pyramid.view import view_config

log = logging.getLogger(__name__)


@view_config(route_name="home", renderer="starter:templates/home.jinja2")
def home(request):
    log.warning("Somebody came home.")
    return {"project": "Pyramid Scaffold", "python": "{}.{}".format(*sys.version_info)}


@view_config(route_name="settings", renderer="json")
def settings(request):
    held = request.registry.settings
    return {name: str(held[name]) for name in held if name.startswith("pyramid.")}
