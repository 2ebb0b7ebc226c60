"""Restarts and new releases under load, through the real Apache and directly: nobody notices."""

import http.client
import re
import time
from urllib.parse import urlencode

import pytest
from interpreters_for_all import need_interpreter
from load import expect_no_failures, get, get_keep_alive

pytestmark = pytest.mark.system

RESTARTS = 3
REDEPLOYS = 2
TITLE = "ini:settings=[app:main]\n    simplesite.title = Title {}"
BROKEN = "ini:settings=[server:main]\n    threads = many"


def signing_in(password):
    """Return a client that signs in again and again, with a session and a POST."""
    cookies = {}

    def ask(connection):
        token = re.search(r'name="csrf_token" value="([^"]+)"', send(connection, "GET")[1])
        form = {"csrf_token": token.group(1), "name": "editor", "password": password}
        return send(connection, "POST", urlencode(form))[0]

    def send(connection, method, body=None):
        headers = {"Cookie": "; ".join(map("=".join, cookies.items())), "Connection": "close"}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, "/sign-in", body, headers)
        answer = connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            cookies[name] = value
        page = answer.read().decode()
        if method == "GET" and 'name="csrf_token"' not in page:
            raise http.client.HTTPException(f"status {answer.status} without a form")
        return answer.status, page

    return ask


def hesitating(connection):
    """Take six seconds to send a form, which is refused in the end: it has no token."""
    connection.putrequest("POST", "/sign-in")
    connection.putheader("Content-Type", "application/x-www-form-urlencoded")
    connection.putheader("Content-Length", "40")
    connection.putheader("Connection", "close")
    connection.endheaders()
    for _ in range(4):
        connection.send(b"name=nobod")
        time.sleep(1.5)
    answer = connection.getresponse()
    answer.read()
    return 200 if answer.status == 400 else answer.status


def clients(site):
    password = (site.path / "var/secrets/simplesite/editor-password").read_text().strip()
    return [
        get("/"),
        get("/"),
        get_keep_alive("/"),
        get("/static/site.css"),
        signing_in(password),
        hesitating,
    ]


def title(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/", headers={"Connection": "close"})
    page = connection.getresponse().read().decode()
    return re.search("<title>(.*?)</title>", page).group(1)


def eventually_titled(port, wanted):
    deadline = time.monotonic() + 60
    while (found := title(port)) != wanted:
        assert time.monotonic() < deadline, f"expected {wanted}, got {found}"


@pytest.mark.parametrize("way", ["through Apache", "directly"])
def test_nobody_notices_restarts_and_new_releases(way, public_checkout, free_port):
    site, port, httpd_port = public_checkout(), free_port(), free_port()
    words = [f"site:port={port}", f"vhost:httpd-port={httpd_port}"]
    site.bootstrap(*words)
    site.control("simplesite", "start")
    if way == "through Apache":
        site.control("simplesite-httpd", "start")
        port = httpd_port
    during = f"{RESTARTS} restarts, {REDEPLOYS} new releases, 1 broken, 1 rollback ({way})"

    with expect_no_failures(f"http://127.0.0.1:{port}", clients(site), during):
        for _ in range(RESTARTS):
            site.control("simplesite", "restart")
        for number in range(REDEPLOYS):
            site.buildout(*words, TITLE.format(number))
            site.control("simplesite", "restart")
            assert title(port) == f"Title {number}"
        site.buildout(*words, BROKEN, "release:load=false")
        output = site.control("simplesite", "restart", check=False)
        assert "was not restarted, the old server goes on: ValueError: " in output
        assert title(port) == f"Title {REDEPLOYS - 1}"
        site.run("bin/pylonyard", "rollback")
        assert title(port) == f"Title {REDEPLOYS - 1}"


@pytest.mark.parametrize("processes", [1, 2])
def test_nobody_notices_new_releases_of_mod_wsgi(processes, public_checkout, free_port):
    site, port = public_checkout(), free_port()
    words = [f"site:port={free_port()}", "site:mode=mod_wsgi", f"vhost:httpd-port={port}"]
    words += ["site:user=www-data", f"vhost:processes={processes}"]
    site.bootstrap(*words)
    site.control("simplesite-httpd", "start")
    during = (
        f"{RESTARTS} restarts, {REDEPLOYS} new releases, 1 rollback (mod_wsgi, "
        f"{processes} process{'es' if processes > 1 else ''})"
    )

    with expect_no_failures(f"http://127.0.0.1:{port}", clients(site), during):
        for _ in range(RESTARTS):
            output = site.control("simplesite", "restart")
            assert output == "simplesite: mod_wsgi loads it again at the next request\n"
            time.sleep(1)
            # mod_wsgi hands a request on twice for each process, and then gives it up.
            assert title(port)
        for number in range(REDEPLOYS):
            site.buildout(*words, TITLE.format(number))
            eventually_titled(port, f"Title {number}")
        site.run("bin/pylonyard", "rollback")
        eventually_titled(port, f"Title {REDEPLOYS - 2}")


def test_nobody_notices_that_the_book_s_application_is_restarted(checkout, free_port):
    need_interpreter("python2.7")
    site, port, httpd_port = checkout(), free_port(), free_port()
    site.bootstrap("-c", "legacy.cfg", f"site:port={port}", f"vhost:httpd-port={httpd_port}")
    site.control("simplesite", "start")
    site.control("simplesite-httpd", "start")
    during = f"{RESTARTS} restarts of SimpleSite 0.3.0 on Python 2.7"

    with expect_no_failures(f"http://127.0.0.1:{httpd_port}", [get("/")] * 3, during):
        for _ in range(RESTARTS):
            site.control("simplesite", "restart")
