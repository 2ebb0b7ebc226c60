"""Markup: the simple notation pages are written in, made HTML."""

from datetime import datetime

from markdown_it import MarkdownIt
from markupsafe import Markup

DEEPEST_HEADING = 6

# HTML is off: what an editor pastes can never run in a visitor's browser.
_parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def to_html(text: str) -> Markup:
    """Return ``text`` as HTML, its headings one level below the title of the page."""
    tokens = _parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            level = min(int(token.tag[1:]) + 1, DEEPEST_HEADING)
            token.tag = f"h{level}"
    return Markup(_parser.renderer.render(tokens, _parser.options, {}))


def long_date(moment: datetime) -> str:
    """Return the day of ``moment`` as people write it."""
    return f"{moment.day} {moment:%B %Y}"
