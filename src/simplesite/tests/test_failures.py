"""Behaviour when the site fails."""

import socket
import threading
from pathlib import Path

import pytest

from simplesite.errormail import ErrorMail
from simplesite.settings import MailSettings


@pytest.fixture
def broken(monkeypatch):
    """Make every page fail."""

    def fail(_text):
        raise RuntimeError("the boiler burst")

    monkeypatch.setattr("simplesite.markup._parser.parse", fail)


class MailServer(threading.Thread):
    """A mail server for one mail, or for so many."""

    def __init__(self, mails=1):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.mails = mails
        self.texts = []

    def run(self):
        """Take the mails and keep their texts."""
        with self.socket:
            while len(self.texts) < self.mails:
                connection, _ = self.socket.accept()
                with connection, connection.makefile("rw") as lines:
                    self._take(lines)

    def _take(self, lines):
        self._answer(lines, "220 ready")
        for line in lines:
            word = line.strip().upper()
            if word == "DATA":
                self._answer(lines, "354 go on")
                self.texts.append("".join(iter(lines.readline, ".\n")))
            self._answer(lines, "221 bye" if word == "QUIT" else "250 ok")
            if word == "QUIT":
                return

    @staticmethod
    def _answer(lines, text):
        lines.write(f"{text}\n")
        lines.flush()


def test_error_page_is_friendly_and_the_log_has_the_details(visitor, broken, caplog):
    page = visitor.get("/", status=500)
    assert "Something went wrong" in page and "boiler" not in page
    assert "the boiler burst" in caplog.text


def test_debug_shows_the_details(open_site, broken):
    assert "the boiler burst" in open_site(debug="true").get("/", status=500)


def test_error_is_mailed_without_cookies(open_site, broken):
    server = MailServer()
    server.start()
    browser = open_site(email_to="a@example.org", smtp_server=f"127.0.0.1:{server.port}")
    browser.get("/about?secret=1", status=500)
    server.join(timeout=5)
    (text,) = server.texts
    assert "the boiler burst" in text and "Subject: The Club: RuntimeError" in text
    assert "secret=1" not in text


def test_mail_server_that_is_away_disturbs_nobody(open_site, broken, monkeypatch):
    sent = threading.Event()
    monkeypatch.setattr("simplesite.errormail.log.warning", lambda *_: sent.set())
    browser = open_site(email_to="a@example.org", smtp_server="127.0.0.1:1")
    assert "Something went wrong" in browser.get("/", status=500)
    assert sent.wait(5)


def test_site_that_fails_all_the_time_sends_a_few_mails_and_a_summary(monkeypatch):
    monkeypatch.setattr("simplesite.errormail.HOUR", 2.0)
    server = MailServer(mails=3)
    server.start()
    settings = MailSettings("127.0.0.1", server.port, "a@example.org", ("b@example.org",), 2)
    mail = ErrorMail(settings)

    for _ in range(1000):
        mail.send("The Club: RuntimeError", "text")
    mail.send("The Club: OSError", "text")

    server.join(timeout=30)
    first, second, summary = server.texts
    assert "Subject: The Club: RuntimeError" in first and "Subject: The Club: Runtime" in second
    assert "Subject: The Club: 999 more errors" in summary
    assert "998  The Club: RuntimeError" in summary and "1  The Club: OSError" in summary


def test_mail_server_that_hangs_has_three_threads_waiting(monkeypatch):
    started = []
    monkeypatch.setattr("threading.Thread.start", lambda thread: started.append(thread))
    mail = ErrorMail(MailSettings("127.0.0.1", 1, "a@example.org", ("b@example.org",), 9))
    for _ in range(10):
        mail.send("subject", "text")
    # The fourth is the one that will send the summary.
    assert [type(thread).__name__ for thread in started] == ["Thread"] * 3 + ["Timer"]


def test_request_longer_than_any_form_is_refused_unread(visitor, caplog):
    page = visitor.post("/sign-in", b"name=" + b"x" * 2_000_000, status=413)
    assert "This is too long" in page and len(page.body) < 10_000
    assert not caplog.records


def test_site_without_database_says_so(open_site, tmp_path: Path):
    url = f"sqlite:///{tmp_path}/none/site.db"
    browser = open_site(**{"sqlalchemy.url": url})
    assert "not ready" in browser.get("/healthz", status=503)
    assert "Something went wrong" in browser.get("/", status=500)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=\u00ff",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/x-www-form-urlencoded; charset=none-such",
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/no-such-page"])
def test_what_is_no_form_is_the_sender_s_error(visitor, caplog, path, kind):
    page = visitor.post(path, b"text=x", headers={"Content-Type": kind}, status=400)

    assert "This cannot be read" in page
    assert not caplog.records
