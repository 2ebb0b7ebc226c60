"""Read the code blocks of a page, each with the heading that it is under.

Markdown and reStructuredText alike.  What precedes a block tells what it is: a
paragraph that ends in ``path/of/a/file`` and a colon says that the block is that file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TYPED = frozenset({"sh", "console", "bash"})


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    headings: tuple[str, ...]
    """The headings that it is under, the page's own first."""

    kind: str
    """Its language: ``sh`` for lines to type."""

    text: str
    before: str
    """The paragraph before it, on one line."""

    @property
    def file(self) -> str:
        """Return the path of the file whose text this is; empty if it is no file."""
        found = re.search(r"`([\w./-]+)`+(?:, [\w ]+)?:$", self.before)
        return found[1] if found and self.kind not in TYPED else ""

    @property
    def lines(self) -> str:
        """Return the lines to type, without prompts and output."""
        if self.kind != "console":
            return self.text
        return "".join(re.findall(r"(?m)^[$#] (.*\n)", self.text))


_FENCE = re.compile(r"```(\w*)$")
_DIRECTIVE = re.compile(r"\.\. code-block:: (\w+)$")
_UNDERLINE = re.compile(r"([=\-~^\"])\1{2,}$")


def blocks(page: Path, heading: str = "") -> list[Block]:
    """Return the code blocks of a page in order, or those below one heading.

    :raises ValueError: if the page has no such heading
    """
    text = page.read_text(encoding="utf-8")
    found = list(_markdown(text) if page.suffix == ".md" else _restructured(text))
    if not heading:
        return found
    below = [block for block in found if heading in block.headings]
    if not below:
        raise ValueError(f"{page}: expected code blocks below a heading {heading!r}, got none")
    return below


def packages(page: Path, heading: str) -> list[str]:
    """Return the Debian packages that the text below a heading names, in order.

    They stand as ``Debian: `a`, `b` and `c```.
    """
    text = page.read_text(encoding="utf-8")
    section = re.search(rf"(?ms)^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", text)
    if not section:
        raise ValueError(f"{page}: expected a heading {heading!r}, got none")
    named: list[str] = []
    for found in re.finditer(r"Debian: ((?:`[\w.+-]+`(?:,? and\s+|,\s+)?)+)", section[2]):
        named += re.findall(r"`([\w.+-]+)`", found[1])
    return list(dict.fromkeys(named))


def _markdown(text: str) -> Iterator[Block]:
    headings: list[tuple[int, str]] = []
    lines = iter(text.splitlines(keepends=True))
    before, paragraph = "", ""
    for line in lines:
        if fence := _FENCE.match(line.strip()):
            held = []
            for inner in lines:
                if inner.strip() == "```":
                    break
                held.append(inner)
            names = tuple(name for _, name in headings)
            yield Block(names, fence[1], "".join(held), paragraph or before)
            before = paragraph = ""
        elif title := re.match(r"(#+) (.*)", line):
            headings = _under(headings, len(title[1]), title[2].strip())
            before = paragraph = ""
        elif line.strip():
            paragraph = f"{paragraph} {line.strip()}".strip()
        else:
            before, paragraph = paragraph or before, ""


def _restructured(text: str) -> Iterator[Block]:
    headings: list[tuple[int, str]] = []
    marks: list[str] = []
    lines = text.splitlines(keepends=True)
    before, paragraph, number = "", "", 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if directive := _DIRECTIVE.match(line.rstrip()):
            held = []
            while number < len(lines) and (not lines[number].strip() or lines[number][0] == " "):
                held.append(lines[number])
                number += 1
            inner = re.sub(r"(?m)^    ", "", "".join(held)).strip("\n") + "\n"
            names = tuple(name for _, name in headings)
            yield Block(names, directive[1], inner, paragraph or before)
            before = paragraph = ""
        elif paragraph and _UNDERLINE.match(line.rstrip()):
            mark = line[0]
            marks += [] if mark in marks else [mark]
            headings = _under(headings, marks.index(mark), paragraph)
            before = paragraph = ""
        elif line.strip():
            paragraph = f"{paragraph} {line.strip()}".strip()
        else:
            before, paragraph = paragraph or before, ""


def _under(headings: list[tuple[int, str]], level: int, name: str) -> list[tuple[int, str]]:
    """Return the headings that a new one leaves in force, and itself."""
    return [*(held for held in headings if held[0] < level), (level, name)]
