"""Adding, changing, moving and deleting pages."""

import threading

import pytest
from conftest import sign_in


def page_id(browser, path):
    """Return the number of the page at ``path``."""
    link = browser.get(path).html.find("a", string="Edit")["href"]
    return int(link.split("/")[2])


def main_form(page):
    """Return the form in the content of a page, not the one to sign out."""
    return page.forms[1]


def add(browser, **values):
    """Send the form for a new page."""
    form = main_form(browser.get("/pages/add"))
    for name, value in values.items():
        form[name] = value
    return form.submit(expect_errors=True)


def test_added_page_is_shown_where_it_was_put(editor):
    page = add(editor, title="Our Boats!", body="# Big\n\nTwo *new* ones.").follow()
    assert page.request.path == "/our-boats"
    assert "<h2>Big</h2>" in page and "<em>new</em>" in page
    assert "The page “Our Boats!” was saved." in page
    assert editor.get("/").html.select(".tabs a")[-1].text == "Our Boats!"


def test_html_and_dangerous_links_stay_text(editor):
    body = "<script>alert(1)</script>\n\n[x](javascript:alert(1))"
    page = add(editor, title="Bad", body=body).follow()
    prose = page.html.select_one(".prose")
    assert prose.find("script") is None and prose.find("a") is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"title": ""}, "Enter a title."),
        ({"title": "About"}, "has the address “about” there"),
        ({"title": "Static"}, "The site itself uses the address “static”"),
        ({"title": "X", "slug": "Not Good"}, "Use small letters"),
        ({"title": "日本"}, "Enter an address"),
        ({"title": "x" * 121}, "121 characters long; 120 are the most"),
    ],
)
def test_refused_page_keeps_what_was_entered(editor, values, message):
    page = add(editor, body="\nMy long text\n", **values)
    assert page.status_int == 422
    assert message in page.html.select_one("[role=alert]").text
    assert main_form(page)["body"].value.strip() == "My long text"
    assert main_form(page)["title"].value == values["title"]


def test_unknown_parent_is_refused(editor):
    form = main_form(editor.get("/pages/add"))
    form["parent_id"].force_value("999")
    form["title"] = "Lost"
    assert "Choose a page of this site." in form.submit(status=422)


def test_edit_changes_title_and_address(editor):
    number = page_id(editor, "/about")
    form = main_form(editor.get(f"/pages/{number}/edit"))
    form["title"], form["slug"] = "About us", "us"
    assert form.submit(status=303).follow().request.path == "/us"
    editor.get("/us/privacy", status=200)


def test_home_has_no_address_to_edit(editor):
    form = main_form(editor.get(f"/pages/{page_id(editor, '/')}/edit"))
    assert "slug" not in form.fields
    form["title"] = "Hello"
    assert form.submit(status=303).follow().html.h1.text == "Hello"


def test_second_of_two_concurrent_saves_is_refused(editor):
    address = f"/pages/{page_id(editor, '/about')}/edit"
    first, second = main_form(editor.get(address)), main_form(editor.get(address))
    first["body"], second["body"] = "First text", "Second text"
    first.submit(status=303)
    conflict = second.submit(status=409)
    assert "Somebody else saved this page" in conflict
    assert "First text" in conflict.html.select_one("#theirs").text
    assert main_form(conflict)["body"].value == "Second text"
    assert "First text" in editor.get("/about")
    main_form(conflict).submit(status=303)
    assert "Second text" in editor.get("/about")


def test_of_saves_at_the_same_moment_one_wins(open_site):
    browsers = [sign_in(open_site()) for _ in range(4)]
    address = f"/pages/{page_id(browsers[0], '/about')}/edit"
    forms = [main_form(browser.get(address)) for browser in browsers]
    statuses = []

    def save(form):
        statuses.append(form.submit(expect_errors=True).status_int)

    threads = [threading.Thread(target=save, args=(form,)) for form in forms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [303, 409, 409, 409]


def test_arrows_change_the_order(editor):
    number = page_id(editor, "/guide")
    page = editor.get("/pages")
    form = next(
        form
        for form in page.forms.values()
        if form.action == f"/pages/{number}/shift" and form["direction"].value == "up"
    )
    page = form.submit(status=303).follow()
    assert [tab.text for tab in page.html.select(".tabs a")][1:3] == ["Guide", "About"]


def test_moved_page_takes_those_below_along(editor):
    number = page_id(editor, "/guide")
    form = main_form(editor.get(f"/pages/{number}/move"))
    offered = [text for _, _, text in form["parent_id"].options]
    assert not any("Guide" in text or "Writing" in text for text in offered)
    form["parent_id"].select(text=next(text for text in offered if "About" in text))
    assert "“Guide” is now under “About”." in form.submit(status=303).follow()
    editor.get("/about/guide/writing-pages", status=200)
    editor.get("/guide", status=404)


def test_page_cannot_go_below_itself(editor):
    number, below = page_id(editor, "/guide"), page_id(editor, "/guide/comments")
    form = main_form(editor.get(f"/pages/{number}/move"))
    form["parent_id"].force_value(str(below))
    assert "A page cannot be under itself." in form.submit(status=422)


def test_move_to_a_taken_address_is_refused(editor):
    number = page_id(editor, "/guide/comments")
    add(editor, title="Comments", slug="talk")
    page = main_form(editor.get(f"/pages/{number}/move"))
    page["parent_id"].select(text="Welcome")
    assert "The site itself uses the address" in page.submit(status=422)


def test_deleting_asks_first_and_takes_what_is_below(editor):
    number = page_id(editor, "/guide")
    question = editor.get(f"/pages/{number}/delete")
    assert "Delete all 4 pages" in question and "Arranging pages" in question
    assert "“Guide” was deleted" in main_form(question).submit(status=303).follow()
    editor.get("/guide/comments", status=404)
    editor.get("/about/privacy", status=200)


def test_home_can_be_neither_deleted_nor_moved(editor):
    number = page_id(editor, "/")
    editor.get(f"/pages/{number}/delete", status=404)
    editor.get(f"/pages/{number}/move", status=404)
    assert "Delete" not in editor.get("/").html.select_one(".editor-bar").text


def test_text_for_a_page_deleted_meanwhile_is_given_back(editor):
    number = page_id(editor, "/contact")
    form = main_form(editor.get(f"/pages/{number}/edit"))
    main_form(editor.get(f"/pages/{number}/delete")).submit()
    form["body"] = "Work of an hour"
    assert "Work of an hour" in form.submit(status=404).html.select_one(".kept").text
