"""The form of a comment."""

import re

from simplesite.forms import Form
from simplesite.models import AUTHOR_LENGTH, EMAIL_LENGTH, Comment

FIELDS = ("author", "email", "text")
# Hidden from people: only programs that fill in everything fill in this one.
TRAP_FIELD = "website"
LONGEST_TEXT = 5000

_email_pattern = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def check(form: Form) -> None:
    """Refuse what no comment can have."""
    form.values["author"] = " ".join(form.get("author").split())
    form.values["email"] = form.get("email").strip()
    form.require("author", "Enter your name, or any name you like.")
    form.limit("author", AUTHOR_LENGTH)
    form.limit("email", EMAIL_LENGTH)
    if form.get("email") and not _email_pattern.fullmatch(form.get("email")):
        form.refuse("email", "Enter a whole address like name@example.org, or leave this empty.")
    form.require("text", "Write your comment here.")
    form.limit("text", LONGEST_TEXT)


def comment_from(form: Form, page_id: int) -> Comment:
    """Return the comment that was entered."""
    return Comment(
        page_id=page_id,
        author=form.get("author"),
        email=form.get("email"),
        text=form.get("text"),
    )
