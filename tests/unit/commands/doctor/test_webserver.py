"""The doctor's checks of a private Apache, and of other sites in the machine's Apache."""

import contextlib
import http.server
import threading
from datetime import datetime

import pytest
from pylonyard.commands.doctor import hello_world, logs, webserver
from pylonyard.webservers.apache import SERVER
from pylonyard.webservers.apache.machine import MachineApache

from tests.unit.commands.doctor.test_command_checks import laid, place, subject
from tests.unit.commands.doctor.test_permissions import result_of

__all__ = ["place"]  # a fixture


@contextlib.contextmanager
def private_apache(place, status, more=""):
    """Answer every request with ``status``, where the private Apache of the site listens.

    :param more: what else its configuration holds
    """

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Host"])
            self.send_response(status)
            self.end_headers()

        def log_message(self, *words):
            pass

    asked = []
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        port = server.server_port
        (place / "current/shop/httpd.conf").write_text(
            f"ListenBacklog 500\nListen 127.0.0.1:{port} http\n{more}"
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield port
        server.shutdown()
        thread.join()
    assert set(asked) <= {"shop.example.org"}


@pytest.mark.parametrize(("status", "ok"), [(200, True), (302, True), (500, False)])
@pytest.mark.parametrize("mode", ["mod_wsgi", "embedded"])
def test_private_apache_is_visited_if_it_runs_the_site(place, mode, status, ok):
    site = subject(place, mode=mode)

    with private_apache(place, status) as port:
        assert result_of(webserver.visit(site)) == (
            ok,
            f"http://shop.example.org:{port}/ answers {status}",
        )

    assert site.answers == {"visit": ok}


def test_private_apache_that_does_not_answer_is_red(place):
    with private_apache(place, 200) as port:
        pass
    site = subject(place, mode="mod_wsgi")

    (found,) = webserver.visit(site)

    assert (found.ok, found.text, found.advice) == (
        False,
        f"http://shop.example.org:{port}/: 127.0.0.1:{port} does not answer: Connection refused",
        "bin/shop-httpd restart",
    )
    assert site.answers == {"visit": False}


def test_site_that_answers_by_http_alone_is_red(place):
    site = subject(place, mode="mod_wsgi")

    with private_apache(place, 301, "Listen 127.0.0.1:9 https\n"):
        (found,) = webserver.visit(site)

    assert (found.ok, found.text) == (
        False,
        "https://shop.example.org:9/: 127.0.0.1:9 does not answer: Connection refused",
    )
    assert site.answers == {"visit": False}


@contextlib.contextmanager
def laid_apache(place, monkeypatch, status, process):
    """Have the machine's Apache, ``process``, answer for the site."""
    monkeypatch.setattr(MachineApache, "pid", process)
    with private_apache(place, status) as port:
        yield subject(place, laid(place, ""), listen="127.0.0.1", listen_port=port)


@pytest.mark.parametrize(
    ("answers", "advice"),
    [
        ({"application": True}, "apache2ctl configtest && service apache2 reload"),
        ({"application": False}, "bin/shop start"),
    ],
)
def test_apache_that_asks_elsewhere_is_to_be_reloaded(place, monkeypatch, answers, advice):
    with laid_apache(place, monkeypatch, 503, 7) as site:
        site.answers.update(answers)

        (found,) = webserver.visit(site)

    assert (found.ok, found.advice) == (False, advice)


@pytest.mark.parametrize(
    ("process", "answers", "advice"),
    [
        (None, {}, "see apache-running and apache-config"),
        (7, {"application": False}, "see server-running and application"),
        (7, {"application": True}, f"see apache-config, then: {SERVER.safe_restart}"),
    ],
)
def test_why_apache_does_not_answer_is_where_it_shows(place, monkeypatch, process, answers, advice):
    with laid_apache(place, monkeypatch, 200, process) as site:
        pass
    site.answers.update(answers)

    (found,) = webserver.visit(site)

    assert (found.ok, found.advice) == (False, advice)


def test_private_apache_without_a_configuration_is_not_asked(place):
    site = subject(place, mode="mod_wsgi")

    assert result_of(webserver.visit(site)) == (
        None,
        f"{place}/current/shop/httpd.conf cannot be read",
    )
    assert result_of(hello_world.hello(site)) == (None, "not needed: nothing asked has failed")


def test_hello_world_is_not_needed_where_the_site_answers(place):
    site = subject(place, mode="mod_wsgi")
    with private_apache(place, 200):
        list(webserver.visit(site))

    assert result_of(hello_world.hello(site)) == (
        None,
        "not needed: the application itself answers",
    )


def test_logs_of_the_private_apache_are_read(place):
    site = subject(place, mode="mod_wsgi")
    for check, name in ((logs.webserver, "shop-httpd.log"), (logs.site, "shop-error.log")):
        log = place / "log" / name
        stamp = datetime.now().strftime("%a %b %d %H:%M:%S.000000 %Y")
        log.write_text(f"[{stamp}] [wsgi:error] [pid 7:tid 8] KeyError: 'shop'\n")

        (found,) = check(site)

        assert (found.ok, found.text, found.advice) == (
            False,
            f"{log}: KeyError: 'shop'",
            f"tail -50 {log}",
        )


def test_site_with_a_server_of_its_own_has_no_private_apache_to_ask(place):
    for check in (webserver.visit, logs.webserver, logs.site):
        assert result_of(check(subject(place))) == (None, "the site is not activated")


def listed(*places):
    """Return what Apache tells of virtual hosts: of each place, names, files and aliases."""
    text = "VirtualHost configuration:\n"
    for where, *hosts in places:
        if len(hosts) == 1:
            name, file, *_ = hosts[0]
            text += f"{where:22} {name} (/etc/apache2/sites-enabled/{file}:1)\n"
            continue
        text += f"{where:22} is a NameVirtualHost\n"
        text += f"         default server {hosts[0][0]} ({hosts[0][1]}:1)\n"
        for name, file, *aliases in hosts:
            port = where.rpartition(":")[2]
            text += f"         port {port} namevhost {name} (/etc/apache2/sites-enabled/{file}:1)\n"
            for alias in aliases:
                text += f"                 {'wild ' * ('*' in alias)}alias {alias}\n"
    return text + 'ServerRoot: "/etc/apache2"\n'


OURS = ("shop.example.org", "shop.conf", "www.shop.example.org")


@pytest.mark.parametrize(
    ("places", "rival"),
    [
        ([("*:80", OURS)], ""),
        ([("*:80", ("a.example.org", "a.conf"), OURS)], ""),
        ([("*:80", ("Shop.example.org", "a.conf"), OURS)], "ServerName"),
        ([("*:80", ("a.example.org", "a.conf", "shop.example.org"), OURS)], "ServerAlias"),
        ([("*:80", ("a.example.org", "a.conf", "x.org", "*.Example.org"), OURS)], "ServerAlias"),
        ([("*:80", ("a.example.org", "a.conf", "*.example.com"), OURS)], ""),
        ([("*:80", OURS, ("a.example.org", "a.conf", "*.example.org"))], ""),
        # The same name elsewhere.
        ([("*:81", ("shop.example.org", "a.conf")), ("*:80", OURS)], ""),
        ([("*:80", ("shop.example.org", "a.conf")), ("127.0.0.1:80", OURS)], ""),
        ([("10.0.0.1:80", ("shop.example.org", "a.conf")), ("*:80", OURS)], "ServerName"),
        # Not ours at all.
        ([("*:80", ("a.example.org", "a.conf", "*.org"), ("b", "b.conf"))], "ServerAlias"),
    ],
)
def test_host_that_answers_before_ours_is_red(place, monkeypatch, places, rival):
    monkeypatch.setattr(MachineApache, "apache", lambda httpd, *words: listed(*places))

    (found,) = webserver.shadowed(subject(place, laid(place, "")))

    file = "/etc/apache2/sites-enabled/a.conf"
    assert (found.ok, found.text, found.advice) == (
        (
            False,
            f"{file} answers for shop.example.org before shop.conf does",
            f"give it another {rival}, or, if nobody needs it: a2dissite a && {SERVER.safe_reload}",
        )
        if rival
        else (True, "shop.example.org is served by shop.conf", "")
    )


def test_site_that_no_virtual_host_is_named_for_is_red(place, monkeypatch):
    text = listed(["*:80", ("a.example.org", "a.conf")])
    monkeypatch.setattr(MachineApache, "apache", lambda httpd, *words: text)

    (found,) = webserver.shadowed(subject(place, laid(place, "")))

    assert (found.ok, found.text, found.advice) == (
        False,
        "no virtual host is named shop.example.org",
        "a2ensite shop; compare: apache2ctl -S",
    )
