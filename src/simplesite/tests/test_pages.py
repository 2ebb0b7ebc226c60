"""Pages as visitors see them."""

import pytest
from conftest import sign_in

from simplesite.models import Page


def test_home_shows_tabs_and_no_foreign_address(visitor):
    page = visitor.get("/")
    assert [tab.text for tab in page.html.select(".tabs a")] == [
        "Welcome",
        "About",
        "Guide",
        "Contact",
    ]
    assert page.html.select_one(".tabs a")["aria-current"] == "page"
    assert "http" not in "".join(tag.get("href", "") for tag in page.html.find_all(True))
    assert page.html.find("script") is None and page.html.find("style") is None


def test_page_below_shows_breadcrumbs_and_section(visitor):
    page = visitor.get("/guide/writing-pages")
    trail = [step.get_text() for step in page.html.select(".trail li")]
    assert trail == ["Welcome", "Guide", "Writing pages"]
    section = page.html.select(".section-nav a")
    assert [link["href"] for link in section] == [
        "/guide",
        "/guide/writing-pages",
        "/guide/arranging-pages",
        "/guide/comments",
    ]
    assert page.html.title.text == "Writing pages · The Club"


def test_address_with_slash_at_the_end_leads_to_the_page(visitor):
    assert visitor.get("/about/", status=303).headers["Location"] == "/about"


@pytest.mark.parametrize("host", ["site.example", "site.example:80", "site.example:8080", None])
def test_redirects_carry_neither_scheme_nor_host(visitor, host):
    headers = {"Host": host} if host else {}
    assert visitor.get("/about/", headers=headers, status=303).headers["Location"] == "/about"


def test_mounted_below_a_prefix_all_addresses_have_it(visitor):
    page = visitor.get("/club/", extra_environ={"SCRIPT_NAME": "/club"})
    links = [link["href"] for link in page.html.find_all("a") if link["href"] != "#content"]
    assert {"/club/about", "/club/guide"} <= set(links)


def test_unknown_page_keeps_the_navigation(visitor):
    page = visitor.get("/about/nothing", status=404)
    assert "This page is not here" in page
    assert page.html.select(".tabs a")


def test_unknown_static_file_is_a_friendly_404(visitor):
    assert visitor.get("/static/none.css", status=404).html.select(".tabs a")


def test_address_that_is_no_text_is_refused(visitor):
    assert "This cannot be read" in visitor.get("/%ff", status=400)


def test_static_files_are_kept_by_browsers_under_changing_addresses(visitor):
    link = visitor.get("/").html.find("link", rel="stylesheet")["href"]
    assert "?v=" in link
    assert "max-age=604800" in visitor.get(link).headers["Cache-Control"]


def test_healthz(visitor):
    answer = visitor.get("/healthz")
    assert (answer.content_type, answer.text) == ("text/plain", "ok\n")


def test_visitor_who_reads_gets_no_cookie(visitor):
    assert "Set-Cookie" not in visitor.get("/about").headers


def test_responses_forbid_scripts_and_frames(visitor):
    policy = visitor.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy


def test_site_of_very_many_pages_shows_them_in_parts(open_site):
    browser = sign_in(open_site())
    with browser.app._application.registry["sessions"]() as session:
        session.add_all(
            Page(parent_id=1, slug=f"p{number}", title=f"Page {number}", position=number + 9)
            for number in range(2000)
        )
        session.commit()

    home, last = browser.get("/"), browser.get("/p1999")
    assert max(len(page.body) for page in (home, last, browser.get("/pages"))) < 200_000
    assert len(home.html.select(".cards li")) == 60
    assert home.html.select(".tabs a")[-1]["href"] == "/#below"
    assert last.html.select_one(".tabs a[aria-current]").text == "Page 1999"
    moved = browser.get("/pages?part=21").forms[1].submit(status=303)
    assert moved.headers["Location"].startswith("/pages?part=2")
