"""The tree of pages: parents and children, and the address of each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from simplesite.models import Page

MOST_TABS = 15
MOST_IN_NAVIGATION = 100


@dataclass(frozen=True)
class Heading:
    """A page in the navigation."""

    id: int
    parent_id: int | None
    slug: str
    title: str
    summary: str


class PageTree:
    """All pages of the site without their text, in order."""

    def __init__(self, headings: Iterable[Heading]) -> None:
        self._headings = {heading.id: heading for heading in headings}
        self._children: dict[int | None, list[Heading]] = {}
        for heading in self._headings.values():
            self._children.setdefault(heading.parent_id, []).append(heading)

    @property
    def home(self) -> Heading | None:
        """The page all others are under."""
        return next(iter(self._children.get(None, [])), None)

    def get(self, page_id: int | None) -> Heading | None:
        """Return the page with this number."""
        return None if page_id is None else self._headings.get(page_id)

    def children(self, page_id: int) -> Sequence[Heading]:
        """Return the pages right under this one."""
        return self._children.get(page_id, [])

    def find(self, slugs: Iterable[str]) -> Heading | None:
        """Return the page at the address made of ``slugs``."""
        found = self.home
        for slug in slugs:
            below = self.children(found.id) if found else []
            found = next((child for child in below if child.slug == slug), None)
        return found

    def lineage(self, page_id: int) -> list[Heading]:
        """Return the pages from the home page down to this one."""
        lineage: list[Heading] = []
        heading = self.get(page_id)
        while heading:
            lineage.insert(0, heading)
            heading = self.get(heading.parent_id)
        return lineage

    def slugs(self, page_id: int) -> tuple[str, ...]:
        """Return the parts of the address of this page."""
        return tuple(heading.slug for heading in self.lineage(page_id)[1:])

    def walk(self, page_id: int, depth: int = 0) -> Iterator[tuple[int, Heading]]:
        """Yield this page and all below it, each with its depth."""
        yield depth, self._headings[page_id]
        for child in self.children(page_id):
            yield from self.walk(child.id, depth + 1)

    def navigation(self, section_id: int) -> list[tuple[int, Heading]]:
        """Return the first pages of a section, each with its depth."""
        return list(islice(self.walk(section_id), MOST_IN_NAVIGATION))

    def tabs(self, section: Heading | None) -> list[Heading]:
        """Return the first pages right under the home page, and the one visitors are in."""
        found = list(self.children(self.home.id)) if self.home else []
        shown = found[:MOST_TABS]
        return [*shown, section] if section and section not in shown else shown

    @property
    def has_more_than_tabs(self) -> bool:
        """Whether there are pages right under the home page without a tab."""
        return self.home is not None and len(self.children(self.home.id)) > MOST_TABS

    def outline(self) -> list[tuple[int, Heading]]:
        """Return all pages, each with its depth, as a table of contents lists them."""
        return list(self.walk(self.home.id)) if self.home else []

    def possible_parents(self, page_id: int) -> list[tuple[int, Heading]]:
        """Return the pages that this one can be put under: all but itself and those below it."""
        below = {heading.id for _, heading in self.walk(page_id)}
        return [(depth, heading) for depth, heading in self.outline() if heading.id not in below]


def load_tree(session: Session) -> PageTree:
    """Return the tree of all pages."""
    columns = (Page.id, Page.parent_id, Page.slug, Page.title, Page.summary)
    rows = session.execute(select(*columns).order_by(Page.position, Page.id))
    return PageTree(Heading(*row) for row in rows)
