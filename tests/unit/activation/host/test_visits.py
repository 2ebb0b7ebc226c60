import dataclasses
import http.server
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pylonyard.activation.host import visits
from pylonyard.activation.steps import Ask
from pylonyard.releases.contents import Site
from pylonyard.system.errors import ActivationError

SHOP = Site(
    name="shop",
    user="shop",
    data=Path("/srv/shop/var/data/shop"),
    live=Path("/srv/shop/releases/3/shop"),
    log=Path("/srv/shop/var/log"),
    port=8080,
    mode="proxy",
    server_name="shop.example.org",
)
SECURE = dataclasses.replace(SHOP, ssl_port=443, ssl_certificate=Path("/c.pem"))
ELSEWHERE = "192.0.2.7"


def lines_for(site=SHOP, status=200, leads=("127.0.0.1",)):
    return list(visits.address_lines(site, lambda _: status, lambda _: list(leads)))


@pytest.mark.parametrize(
    ("site", "url"),
    [
        (SHOP, "http://shop.example.org/"),
        (SECURE, "https://shop.example.org/"),
        (dataclasses.replace(SHOP, listen_port=8000), "http://shop.example.org:8000/"),
        (dataclasses.replace(SECURE, ssl_port=8443), "https://shop.example.org:8443/"),
        (dataclasses.replace(SHOP, mode=""), "http://127.0.0.1:8080/"),
    ],
)
def test_address_is_the_url_of_the_site(site, url):
    assert lines_for(site) == [f"shop: open {url} (visited just now: it answers 200)"]


def test_name_that_leads_nowhere_is_reported_with_what_works_until_then():
    assert lines_for(leads=()) == [
        "shop: answers 200 as http://shop.example.org/, but the name leads nowhere yet: "
        "see to that in DNS, or set server-name in [site]",
        "shop: until then, on this machine: curl --include "
        "--resolve shop.example.org:80:127.0.0.1 http://shop.example.org/",
    ]


def test_name_that_leads_to_another_machine_is_reported():
    assert f"the name leads to {ELSEWHERE}, not to this machine" in lines_for(leads=[ELSEWHERE])[0]


def test_name_of_several_addresses_is_enough_if_one_is_here():
    assert lines_for(leads=[ELSEWHERE, "127.0.0.1"])[0].startswith("shop: open ")


def test_site_that_answers_with_an_error_is_not_offered():
    assert lines_for(status=503) == [
        "shop: http://shop.example.org/ answers 503; bin/pylonyard doctor says why"
    ]


def test_site_that_does_not_answer_is_not_offered():
    def visit(site):
        raise ActivationError("127.0.0.1:80 does not answer: Connection refused")

    assert list(visits.address_lines(SHOP, visit, lambda name: [])) == [
        "shop: http://shop.example.org/ does not answer: 127.0.0.1:80 does not answer: "
        "Connection refused; bin/pylonyard doctor says why"
    ]


def test_only_this_machines_addresses_are_here():
    assert visits.is_here("127.0.0.1")
    assert not visits.is_here(ELSEWHERE)
    assert not visits.is_here("no address")


def test_name_is_looked_up():
    assert "127.0.0.1" in visits.addresses("localhost")
    assert visits.addresses("x" * 64) == []


def test_name_server_that_is_silent_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(visits, "LOOK_UP_PATIENCE", 0.05)
    monkeypatch.setattr(visits.socket, "getaddrinfo", lambda *a, **k: time.sleep(0.5) or [])

    began = time.monotonic()

    assert visits.addresses("shop.example.org") == []
    assert time.monotonic() - began < 0.4


def test_visit_is_by_the_name_of_the_site():
    hosts = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            hosts.append(self.headers["Host"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            site = dataclasses.replace(SHOP, listen_port=server.server_port)
            assert visits.first_status(site) == 204
        finally:
            server.shutdown()
    assert hosts == ["shop.example.org"]


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        output = {"/broken": 500, "/": 200}.get(self.path, 404)
        self.send_response(503 if self.headers["Host"] == "down.example.org" else output)
        self.end_headers()

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def port():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(tmp_path, port, name):
    site = Site(
        name="shop",
        user="root",
        data=tmp_path,
        live=tmp_path,
        log=tmp_path,
        port=8080,
        mode="proxy",
        server_name=name,
        listen="127.0.0.1",
        listen_port=port,
    )
    return Ask(site, port)


def test_status_of_the_answer_is_returned(port):
    assert visits.request("127.0.0.1", port, "shop.example.org") == 200
    assert visits.request("127.0.0.1", port, "shop.example.org", path="/broken") == 500


def test_no_answer_is_one_line(port):
    with pytest.raises(ActivationError) as caught:
        visits.request("127.0.0.1", 1, "shop.example.org", timeout=5)
    assert str(caught.value) == "127.0.0.1:1 does not answer: Connection refused"

    with pytest.raises(ActivationError) as caught:
        visits.request("127.0.0.1", port, "shop.example.org", secure=True, timeout=5)
    assert str(caught.value).startswith(f"127.0.0.1:{port} does not answer: ")
    assert isinstance(caught.value.__cause__, ssl.SSLError | OSError)


def test_first_request_has_to_be_answered_without_an_error(tmp_path, port):
    visits.request_site(ask(tmp_path, port, "shop.example.org"))
    with pytest.raises(ActivationError) as caught:
        visits.request_site(ask(tmp_path, port, "down.example.org"))

    assert str(caught.value) == f"http://down.example.org:{port}/ answers 503"
