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


def test_text_that_nobody_types_is_refused_and_not_shown(visitor, monkeypatch):
    # WebOb keeps longer requests in a file that it never closes.
    monkeypatch.setattr("webob.request.BaseRequest.request_body_tempfile_limit", 100_000)
    page = written(visitor, text="x" * 50_001)
    assert page.status_int == 413 and len(page.body) < 10_000


def test_many_comments_come_in_parts(visitor):
    for number in range(51):
        answer = written(visitor, text=f"Comment {number}.")
    assert answer.headers["Location"] == "/contact?comments=2#comments"
    first, second = visitor.get("/contact"), visitor.get("/contact?comments=2")
    shown = [len(page.html.select(".comment-text")) for page in (first, second)]
    assert shown == [50, 1]
    assert "51 comments" in first and "Comment 50." in second
    assert first.html.select_one(".pager a[rel=next]")["href"] == "?comments=2#comments"
    assert visitor.get("/contact?comments=99x").html.select_one(".pager span").text == "Part 1 of 2"
