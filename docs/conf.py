"""How Sphinx builds these pages: python3 bootstrap.py docs.

A page links to another by its file, as in ``operating.rst``, so that the links work
wherever the files themselves are shown; here they are made to lead to what is built.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = (ROOT / "recipes" / "pylonyard" / "__init__.py").read_text(encoding="utf-8")

project = "Pylonyard"
author = "the Pylonyard team"
version = release = re.findall(r'(?m)^__version__ = "(.+)"', PACKAGE)[0]
root_doc = "index"
html_theme = "furo"
html_title = f"{project} {version}"
html_show_copyright = False
html_copy_source = False
nitpicky = True
# What a command prints need not be a shell's grammar: an apostrophe, say.
suppress_warnings = ["misc.highlighting_failure"]


class LinksBetweenPages(SphinxTransform):
    """Turn links to files of this folder into links to their pages."""

    default_priority = 100

    def apply(self, **words: Any) -> None:
        for link in list(self.document.findall(nodes.reference)):
            target = link.get("refuri", "")
            if target.endswith("README.md"):
                link.replace_self(link.children)  # it is not one of the pages
            elif re.fullmatch(r"[^:#]+\.rst", target):
                link.replace_self(self._crossing(link, target))

    def _crossing(self, link: nodes.reference, target: str) -> nodes.Node:
        """Return what Sphinx makes a link of; it warns if there is no such page."""
        crossing = addnodes.pending_xref(
            link.rawsource,
            refdoc=self.env.docname,
            refdomain="std",
            reftype="doc",
            reftarget=target.removesuffix(".rst"),
            refexplicit=True,
            refwarn=True,
        )
        crossing += nodes.inline(link.rawsource, link.astext())
        return crossing


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(LinksBetweenPages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
