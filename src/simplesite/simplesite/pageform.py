"""The form of a page."""

import re
import unicodedata

from simplesite.forms import Form
from simplesite.models import SLUG_LENGTH, SUMMARY_LENGTH, TITLE_LENGTH, Page, utc_now
from simplesite.pagetree import Heading, PageTree
from simplesite.routes import RESERVED_SLUGS

FIELDS = ("title", "slug", "summary", "body", "comments_open", "parent_id", "version")
LONGEST_BODY = 100_000

_slug_pattern = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def filled_form(page: Page) -> Form:
    """Return the form with what a page holds now."""
    return Form(
        {
            "title": page.title,
            "slug": page.slug,
            "summary": page.summary,
            "body": page.body,
            "comments_open": "yes" if page.comments_open else "",
            "version": str(page.version),
        }
    )


def check_texts(form: Form) -> None:
    """Refuse what no page can have."""
    form.values["title"] = " ".join(form.get("title").split())
    form.values["summary"] = " ".join(form.get("summary").split())
    form.require("title", "Enter a title.")
    form.limit("title", TITLE_LENGTH)
    form.limit("summary", SUMMARY_LENGTH)
    form.limit("body", LONGEST_BODY)


def check_slug(form: Form, tree: PageTree, parent: Heading | None, page_id: int | None) -> None:
    """Refuse an address that is malformed or not free under ``parent``; fill in an empty one."""
    slug = form.get("slug").strip() or slug_from(form.get("title"))
    form.values["slug"] = slug
    form.require("slug", "Enter an address: none can be made of the title.")
    form.limit("slug", SLUG_LENGTH)
    if slug and not _slug_pattern.fullmatch(slug):
        form.refuse("slug", "Use small letters a to z, digits and single hyphens between them.")
    if parent:
        problem = slug_problem(slug, tree, parent, page_id)
        if problem:
            form.refuse("slug", problem)


def slug_problem(slug: str, tree: PageTree, parent: Heading, page_id: int | None) -> str | None:
    """Return why ``slug`` is not free under ``parent``."""
    if parent == tree.home and slug in RESERVED_SLUGS:
        return f"The site itself uses the address “{slug}”. Choose another one."
    siblings = [child for child in tree.children(parent.id) if child.id != page_id]
    twin = next((sibling for sibling in siblings if sibling.slug == slug), None)
    if twin is None:
        return None
    return f"The page “{twin.title}” has the address “{slug}” there. Choose another one."


def chosen_page(form: Form, tree: PageTree, name: str) -> Heading | None:
    """Return the page chosen in the field ``name``."""
    value = form.get(name)
    # Longer numbers than any page has are more than some databases can compare.
    chosen = tree.get(int(value)) if re.fullmatch("[0-9]{1,9}", value) else None
    if chosen is None:
        form.refuse(name, "Choose a page of this site.")
    return chosen


def slug_from(title: str) -> str:
    """Return the part of an address that a title suggests."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.findall("[a-z0-9]+", plain.replace("'", ""))
    return "-".join(words)[:SLUG_LENGTH].strip("-")


def store(form: Form, page: Page) -> None:
    """Put the values of the form into a page."""
    page.title = form.get("title")
    page.slug = form.get("slug")
    page.summary = form.get("summary")
    page.body = form.get("body")
    page.comments_open = form.get("comments_open") == "yes"
    page.changed = utc_now()
