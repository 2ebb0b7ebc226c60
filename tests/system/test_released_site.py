"""The released files of the default site, served by the real Apache, as a browser sees it."""

import re
import time

import pytest
from browser import Browser

pytestmark = pytest.mark.system


@pytest.fixture(params=["proxy", "mod_wsgi", "embedded"])
def served(request, public_checkout, free_port):
    """A released site behind its private Apache, in each mode."""
    site, port, httpd_port = public_checkout(), free_port(), free_port()
    site.bootstrap(
        f"site:port={port}",
        f"site:mode={request.param}",
        f"vhost:httpd-port={httpd_port}",
        "site:user=www-data",
    )
    if request.param == "proxy":
        site.control("simplesite", "start")
    site.control("simplesite-httpd", "start")
    return site, Browser(f"http://127.0.0.1:{httpd_port}")


def test_pages_static_files_sign_in_and_posts(served):
    site, browser = served

    status, page = browser.get("/")
    assert (status, "<title>SimpleSite</title>" in page) == (200, True)
    style = re.search(r'href="(/static/site\.css[^"]*)"', page)
    assert style and browser.get(style.group(1))[0] == 200

    password = (site.path / "var/secrets/simplesite/editor-password").read_text()
    refused = browser.submit("/sign-in", name="editor", password="wrong")
    assert "Sign out" not in refused[1]
    assert "Sign out" in browser.submit("/sign-in", name="editor", password=password)[1]

    status, page = browser.submit(
        "/pages/add", title="From Apache", slug="from-apache", body="Written *through* it."
    )
    assert status == 200, page
    assert "From Apache" in browser.get("/")[1]
    # The session is the browser's own.
    assert "Sign out" not in Browser(browser.address).get("/")[1]


def test_a_new_release_shows_without_a_restart_of_apache(public_checkout, free_port):
    site, httpd_port = public_checkout(), free_port()
    words = [f"site:port={free_port()}", "site:mode=mod_wsgi", f"vhost:httpd-port={httpd_port}"]
    words.append("site:user=www-data")
    site.bootstrap(*words)
    site.control("simplesite-httpd", "start")
    browser = Browser(f"http://127.0.0.1:{httpd_port}")
    assert "<title>SimpleSite</title>" in browser.get("/")[1]

    site.buildout(*words, "ini:settings=[app:main]\n    simplesite.title = Another title")

    deadline = time.monotonic() + 30
    while "<title>Another title</title>" not in browser.get("/")[1]:
        assert time.monotonic() < deadline, "the new release does not show"
    site.run("bin/pylonyard", "rollback")
    while "<title>SimpleSite</title>" not in browser.get("/")[1]:
        assert time.monotonic() < deadline + 30, "the rollback does not show"
