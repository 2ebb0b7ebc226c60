"""The application: the settings, the database, the views and the sessions put together."""

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory
from pyramid.static import QueryStringConstantCacheBuster

from simplesite import database, errormail, forms, layout, responses, routes
from simplesite.security import SitePolicy
from simplesite.settings import SiteSettings, read_settings

STATIC_FOLDER = Path(__file__).parent / "static"
STATIC_MAX_AGE = 7 * 24 * 3600

LIBRARY_SETTINGS = {
    "jinja2.filters": {
        "long_date": "simplesite.markup.long_date",
        "markup": "simplesite.markup.to_html",
    },
    "jinja2.undefined": "strict",
    # Else every request for a static file would look up the editor.
    "tm.annotate_user": False,
    "tm.commit_veto": "pyramid_tm.default_commit_veto",
    "tm.manager_hook": "pyramid_tm.explicit_manager",
}


def make_application(conf: Mapping[str, str], own_values: Mapping[str, Any]) -> Any:
    """Return the Pyramid application for all values of ``conf``."""
    site = read_settings(conf)
    values = {"pyramid.reload_templates": site.debug, **own_values, **LIBRARY_SETTINGS}
    config = Configurator(settings=values)
    config.add_request_method(lambda request: site, "site", property=True)
    config.include("pyramid_jinja2")
    config.include("pyramid_tm")
    database.include(config, site.database_url)
    errormail.include(config, site.mail)
    _include_security(config, site)
    config.include(layout)
    config.include(responses)
    config.include(forms)
    _include_static(config, site)
    config.include(routes)
    config.scan("simplesite.views")
    return config.make_wsgi_app()


def _include_security(config: Configurator, site: SiteSettings) -> None:
    """Give the site its sign-in, its sessions and the check of every POST."""
    # Without a setting, each response decides (simplesite.responses).
    secure = bool(site.secure_cookies)
    config.set_security_policy(SitePolicy(_derived(site.secret, "sign-in"), secure))
    # A form left open overnight can still be sent: the session itself never ends by time.
    config.set_session_factory(
        SignedCookieSessionFactory(
            _derived(site.secret, "session"),
            cookie_name="simplesite_session",
            httponly=True,
            samesite="Lax",
            secure=secure,
            timeout=None,
            reissue_time=None,
        )
    )
    config.set_default_csrf_options(require_csrf=True)


def _include_static(config: Configurator, site: SiteSettings) -> None:
    """Serve the static files, under addresses that change with what is in them."""
    max_age = 0 if site.debug else STATIC_MAX_AGE
    config.add_static_view("static", "simplesite:static", cache_max_age=max_age)
    digest = hashlib.sha256()
    for file in sorted(STATIC_FOLDER.iterdir()):
        digest.update(file.read_bytes())
    buster = QueryStringConstantCacheBuster(digest.hexdigest()[:12], param="v")
    config.add_cache_buster("simplesite:static", buster)


def _derived(secret: str, purpose: str) -> str:
    """Return a secret for one purpose, so that no two kinds of cookie share a key."""
    return hmac.new(secret.encode(), purpose.encode(), "sha256").hexdigest()
