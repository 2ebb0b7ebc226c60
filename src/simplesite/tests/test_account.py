"""Signing in and out, and what only editors may do."""

import threading
from datetime import timedelta

import pytest
from conftest import PASSWORD, sign_in
from sqlalchemy import event, text

import simplesite.passwords
import simplesite.signins
from simplesite.models import FailedSignIn
from simplesite.redirects import is_local


def filled(page, name, password):
    """Return the sign-in form with a name and a password in it."""
    form = page.forms[0]
    form["name"], form["password"] = name, password
    return form


@pytest.mark.parametrize(
    ("name", "password"), [("editor", "wrong"), ("nobody", PASSWORD), ("editor", "")]
)
def test_wrong_name_or_password_is_refused(visitor, name, password):
    page = filled(visitor.get("/sign-in"), name, password).submit(status=422)
    assert page.forms[0]["name"].value == name
    assert page.html.select_one("#password-error")
    assert visitor.get("/").html.select_one(".editor-bar") is None


def test_editing_asks_to_sign_in_and_comes_back(visitor):
    page = visitor.get("/pages/add?parent=2", status=303).follow()
    page = filled(page, "editor", PASSWORD).submit(status=303).follow()
    assert page.request.path_qs == "/pages/add?parent=2"


@pytest.mark.parametrize(
    "came_from",
    ["http://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "evil", ""],
)
def test_sign_in_leads_to_no_other_site(visitor, came_from):
    page = visitor.get("/sign-in", {"came_from": came_from})
    page.forms[0]["came_from"].force_value(came_from)
    answer = filled(page, "editor", PASSWORD).submit(status=303)
    assert answer.headers["Location"] == "/"
    assert not is_local(came_from)


def test_sign_out_ends_editing(editor):
    page = editor.get("/about").forms[0].submit(status=303).follow()
    assert "You are signed out." in page
    editor.get("/pages", status=303)


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(visitor):
    answer = filled(visitor.get("/sign-in"), "editor", PASSWORD).submit(status=303)
    for cookie in answer.headers.getall("Set-Cookie"):
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "secure" not in cookie


def test_secure_cookies_go_by_https_only(open_site):
    browser = open_site(**{"simplesite.secure_cookies": "true"})
    page = browser.get("/sign-in", extra_environ={"wsgi.url_scheme": "https"})
    assert "secure" in page.headers["Set-Cookie"].lower()


def test_post_without_token_is_refused_and_texts_are_given_back(editor):
    page = editor.post("/pages/add", {"title": "x", "body": "Long text"}, status=400)
    assert "This form is no longer valid" in page
    assert "Long text" in page.html.select_one(".kept").text


def test_sign_in_and_out_without_token_are_refused(editor):
    editor.post("/sign-in", {"name": "editor", "password": PASSWORD}, status=400)
    editor.post("/sign-out", status=400)


def test_expired_sign_in_gives_the_text_back(editor):
    form = editor.get("/pages/add").forms[1]
    form["title"], form["body"] = "Late", "Work of an hour"
    editor.set_cookie("simplesite_editor", "gone")
    page = form.submit(status=403)
    assert "Work of an hour" in page.html.select_one(".kept").text


def test_new_password_signs_other_browsers_out(open_site):
    here, there = sign_in(open_site()), sign_in(open_site())
    form = here.get("/account/password").forms[1]
    form["current"], form["new"], form["again"] = PASSWORD, "another one", "another one"
    assert "Your password was changed." in form.submit(status=303).follow()
    here.get("/pages", status=200)
    there.get("/pages", status=303)


def test_weak_or_mistyped_new_password_is_refused(editor):
    form = editor.get("/account/password").forms[1]
    form["current"], form["new"], form["again"] = "wrong", "short", "other"
    page = form.submit(status=422)
    assert all(page.html.select_one(f"#{name}-error") for name in ("current", "new", "again"))


def test_sign_out_ends_the_session_for_a_copied_cookie_too(open_site):
    here, thief = sign_in(open_site()), open_site()
    thief.set_cookie("simplesite_editor", here.cookies["simplesite_editor"].strip('"'))
    thief.get("/pages", status=200)

    here.get("/about").forms[0].submit(status=303)

    thief.get("/pages", status=303)


def test_cookies_are_secure_by_themselves_where_they_come_by_https(visitor):
    page = visitor.get("/sign-in", extra_environ={"wsgi.url_scheme": "https"})
    assert page.headers["Set-Cookie"].endswith("; Secure")


def tries(browser, password, count=1, name="editor", address="203.0.113.7"):
    """Return the answers to so many tries to sign in."""
    page = browser.get("/sign-in")
    environ = {"REMOTE_ADDR": address}
    return [
        filled(page, name, password).submit(extra_environ=environ, expect_errors=True)
        for _ in range(count)
    ]


@pytest.fixture
def stopped_clock(monkeypatch):
    """Have all tries fall into one second, however long they take on this machine."""
    now = simplesite.signins.utc_now()

    def date(mapper, connection, failure):
        failure.moment = now - timedelta(seconds=1)

    monkeypatch.setattr(simplesite.signins, "utc_now", lambda: now)
    event.listen(FailedSignIn, "before_insert", date)
    yield
    event.remove(FailedSignIn, "before_insert", date)


@pytest.mark.usefixtures("stopped_clock")
def test_wrong_passwords_in_a_row_are_limited_for_an_account_and_an_address(visitor):
    answers = tries(visitor, "wrong", 12)
    assert [answer.status_int for answer in answers] == [422] * 10 + [429] * 2
    assert "Try again in 15 minutes." in answers[-1]
    assert answers[-1].headers["Retry-After"] == "900"
    # Not even the right one, now; but for others it is as before.
    assert tries(visitor, PASSWORD)[0].status_int == 429
    assert tries(visitor, PASSWORD, address="203.0.113.8")[0].status_int == 303


def test_many_names_from_one_address_are_limited(visitor, monkeypatch):
    monkeypatch.setattr("simplesite.signins.MOST_FAILURES_BY_ADDRESS", 4)
    address = "2001:db8::{}".format
    answers = [tries(visitor, "no", name=f"n{n}", address=address(n))[0] for n in range(5)]
    assert [answer.status_int for answer in answers] == [422] * 4 + [429]
    assert tries(visitor, PASSWORD, address="2001:db8:0:1::1")[0].status_int == 303


def test_sign_in_forgets_earlier_slips(visitor):
    for _ in range(2):
        tries(visitor, "wrong", 9)
        assert tries(visitor, PASSWORD)[0].status_int == 303
        visitor.reset()


def test_many_sign_ins_at_once_leave_threads_to_visitors(visitor, monkeypatch):
    monkeypatch.setattr("simplesite.passwords._places", threading.BoundedSemaphore(1))
    with simplesite.passwords._places:
        (answer,) = tries(visitor, PASSWORD)
    assert answer.status_int == 429 and answer.headers["Retry-After"] == "1"
    assert tries(visitor, PASSWORD)[0].status_int == 303


def test_site_that_an_older_release_set_up_gets_its_tables(open_site):
    browser = open_site()
    engine = browser.app._application.registry["sessions"].kw["bind"]
    with engine.begin() as connection:
        for table in ("sign_in", "failed_sign_in"):
            connection.execute(text(f"DROP TABLE {table}"))
    browser.get("/")

    assert sign_in(browser).get("/pages").status_int == 200
