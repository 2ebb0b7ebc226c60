"""Fixtures: a site, new for each test, and browsers."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from webtest import TestApp

from simplesite import main
from simplesite.redirects import RelativeRedirects
from simplesite.websetup import setup_app

PASSWORD = "a good password"


def conf_in(folder: Path) -> dict[str, str]:
    """Return the settings of a site with its database in ``folder``."""
    return {
        "sqlalchemy.url": f"sqlite:///{folder}/site.db",
        "simplesite.title": "The Club",
        "simplesite.secret": "not a secret at all",
        "simplesite.editor_password": PASSWORD,
    }


def close_database(site: RelativeRedirects) -> None:
    """Close the connections of a site."""
    site._application.registry["sessions"].kw["bind"].dispose()


@pytest.fixture
def conf(tmp_path: Path) -> dict[str, str]:
    """The settings of a site that was not set up."""
    return conf_in(tmp_path)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[RelativeRedirects, Path]:
    """A site that was set up, and the folder its database is in."""
    folder = tmp_path_factory.mktemp("site")
    setup_app(None, conf_in(folder), {})
    shutil.copy(folder / "site.db", folder / "new.db")
    return main({}, **conf_in(folder)), folder


@pytest.fixture
def open_site(site: tuple[RelativeRedirects, Path]) -> Iterator[Callable[..., TestApp]]:
    """Return a function that opens a browser on the site, with changed settings if given."""
    usual_site, folder = site
    shutil.copy(folder / "new.db", folder / "site.db")
    sites = [usual_site]

    def opener(**changes: str) -> TestApp:
        if changes:
            sites.append(main({}, **{**conf_in(folder), **changes}))
        return TestApp(sites[-1] if changes else usual_site)

    yield opener
    # The last connection that closes takes SQLite's other files with it.
    for opened in sites:
        close_database(opened)


@pytest.fixture
def visitor(open_site: Callable[..., TestApp]) -> TestApp:
    """A visitor's browser."""
    return open_site()


@pytest.fixture
def editor(open_site: Callable[..., TestApp]) -> TestApp:
    """The browser of an editor who is signed in."""
    return sign_in(open_site())


def sign_in(browser: TestApp) -> TestApp:
    """Sign a browser in."""
    form = browser.get("/sign-in").forms[0]
    form["name"], form["password"] = "editor", PASSWORD
    form.submit(status=303)
    return browser
