"""The arrangement of pages: changes to their order and to their place in the tree."""

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from simplesite.models import Page
from simplesite.pagetree import PageTree, load_tree


def locked_tree(session: Session) -> PageTree:
    """Return the tree of pages as it stays until this transaction ends.

    A write to the home page, though it changes nothing, makes all who change pages wait for
    each other: two of them could else put two pages under one another, or save over each other.
    """
    home = update(Page).where(Page.parent_id.is_(None)).values(position=Page.position)
    session.execute(home, execution_options={"synchronize_session": False})
    session.expire_all()
    return load_tree(session)


def place_last(tree: PageTree, page: Page, parent_id: int) -> None:
    """Put ``page`` under a parent, after all that are there."""
    page.parent_id = parent_id
    page.position = len(tree.children(parent_id)) + 1


def shift(session: Session, tree: PageTree, page_id: int, step: int) -> None:
    """Move a page among its siblings: ``step`` places down, or up when it is negative."""
    heading = tree.get(page_id)
    if heading is None or heading.parent_id is None:
        return
    order = [sibling.id for sibling in tree.children(heading.parent_id)]
    place = order.index(page_id)
    order.insert(max(place + step, 0), order.pop(place))
    for position, sibling_id in enumerate(order, start=1):
        session.execute(update(Page).where(Page.id == sibling_id).values(position=position))


def remove(session: Session, page_id: int) -> None:
    """Delete a page and all below it, with their comments."""
    session.execute(delete(Page).where(Page.id == page_id))
