"""Comments of visitors."""

import pytest


def written(visitor, **values):
    """Send a comment and return the answer."""
    form = visitor.get("/contact").forms[0]
    for name, value in {"author": "Ann", "text": "Hello", **values}.items():
        form[name] = value
    return form.submit(expect_errors=True)


def test_comment_is_shown_escaped_and_without_the_email(visitor):
    answer = written(visitor, text="<script>alert(1)</script>\nbye", email="ann@example.org")
    page = answer.follow()
    assert "Thank you for your comment." in page
    assert page.html.find("script") is None
    assert "<script>alert(1)</script>\nbye" in page.html.select_one(".comment-text").text
    assert "ann@example.org" not in page


def test_editors_see_the_email_and_can_delete(visitor, editor):
    written(visitor, email="ann@example.org")
    page = editor.get("/contact")
    assert "ann@example.org" in page
    question = editor.get(page.html.select_one(".comment-actions a[href*=delete]")["href"])
    assert "Hello" in question
    page = question.forms[1].submit(status=303).follow()
    assert "was deleted" in page and page.html.select_one(".comment-text") is None


def test_visitors_cannot_delete(visitor):
    written(visitor)
    visitor.get("/comments/1/delete", status=303)


def test_program_in_the_trap_is_thanked_but_not_heard(visitor):
    page = written(visitor, website="http://spam.example").follow()
    assert "Thank you" in page and page.html.select_one(".comment-text") is None


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"author": " "}, "author"),
        ({"text": "\n"}, "text"),
        ({"email": "no address"}, "email"),
        ({"text": "x" * 5001}, "text"),
    ],
)
def test_refused_comment_keeps_what_was_entered(visitor, values, field):
    page = written(visitor, **values)
    assert page.status_int == 422
    assert page.html.select_one(f"#{field}")["aria-invalid"] == "true"
    entered = {"author": "Ann", "text": "Hello", **values}
    assert page.forms[0]["text"].value == entered["text"].strip()


def test_page_without_comments_takes_none(visitor):
    token = visitor.get("/contact").forms[0]["csrf_token"].value
    values = {"csrf_token": token, "author": "Ann", "text": "Kept"}
    page = visitor.post("/pages/2/comment", values, status=404)
    assert "Kept" in page.html.select_one(".kept").text


def test_comment_without_token_is_refused(visitor):
    page = visitor.post("/pages/9/comment", {"author": "A", "text": "Kept"}, status=400)
    assert "Kept" in page


def test_address_of_the_form_leads_to_the_page(visitor):
    assert visitor.get("/pages/9/comment", status=303).follow().request.path == "/contact"
