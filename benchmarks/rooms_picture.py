#!/usr/bin/env python3
"""Draw the rooms of the package, and which of them import which, from the code.

    python3 benchmarks/rooms_picture.py      writes docs/pictures/rooms.svg

A room stands above all that it imports, and names it.  What is in brackets leads back up,
and is to be untied.
"""

import argparse
import ast
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from fresh_checkout import ROOT

PACKAGE = ROOT / "recipes" / "pylonyard"
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"
BOX, GAP = (226, 92), (18, 20)
MARGIN, LETTERS, LINE = 16, 36, 14
STYLE = """
text { font: 11px sans-serif; fill: #57606a; text-anchor: middle }
.name { font: bold 15px sans-serif; fill: #1b1f24 }
rect { fill: #eef3f9; stroke: #34608f; stroke-width: 1.2 }
.ground { fill: #ffffff; stroke: none }
"""


def rooms() -> dict[str, list[Path]]:
    """Return the modules of each room."""
    folders = sorted(path for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
    return {
        folder.name: [path for path in folder.rglob("*.py") if path.name != "__init__.py"]
        for folder in folders
    }


def imported(path: Path) -> Iterator[str]:
    """Yield the rooms that a module imports from, be it in a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pylonyard"):
            base = (node.module or "").split(".")[1:2]
            yield from base or (alias.name for alias in node.names)


def counted(modules: Mapping[str, list[Path]]) -> dict[str, Counter[str]]:
    """Return how often each room imports from each other one."""
    return {
        room: Counter(
            other for path in paths for other in imported(path) if other in set(modules) - {room}
        )
        for room, paths in modules.items()
    }


def leads_back(counts: Mapping[str, Counter[str]], room: str, other: str) -> bool:
    """Return whether a room imports from one that imports more from it."""
    return counts[room][other] < counts[other][room]


def floors(counts: Mapping[str, Counter[str]]) -> list[list[str]]:
    """Return the rooms by floor, the highest first: each is above what it imports."""
    levels: dict[str, int] = {}

    def level(room: str) -> int:
        if room not in levels:
            below = [other for other in counts[room] if not leads_back(counts, room, other)]
            levels[room] = 1 + max(map(level, below), default=-1)
        return levels[room]

    highest = max(map(level, counts))
    return [[room for room in counts if levels[room] == n] for n in range(highest, -1, -1)]


def drawn(modules: Mapping[str, list[Path]]) -> str:
    """Return the picture, as SVG."""
    counts = counted(modules)
    rows = floors(counts)
    order = [room for row in reversed(rows) for room in row]
    (wide, high), (apart, between) = BOX, GAP
    width = MARGIN * 2 + max(len(row) * (wide + apart) - apart for row in rows)
    height = MARGIN * 2 + len(rows) * (high + between) - between
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        "<title>The rooms of recipes/pylonyard: each imports only from those below it</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}"/>',
    ]
    for floor, row in enumerate(rows):
        left = (width - len(row) * (wide + apart) + apart) / 2
        for index, room in enumerate(row):
            x, y = left + index * (wide + apart), MARGIN + floor * (high + between)
            lines += box(room, len(modules[room]), uses(counts, room, order), x, y)
    return "\n".join([*lines, "</svg>", ""])


def uses(counts: Mapping[str, Counter[str]], room: str, order: list[str]) -> str:
    """Return what a room imports, as its box says it."""
    found = sorted(counts[room], key=order.index)
    told = [f"({one})" if leads_back(counts, room, one) else one for one in found]
    return f"imports {', '.join(told)}" if told else "imports none of the others"


def box(room: str, modules: int, imports: str, x: float, y: float) -> list[str]:
    wide, high = BOX
    centre = x + wide / 2
    several = "modules" if modules > 1 else "module"
    texts = [f"{modules} {several}", *textwrap.wrap(imports, LETTERS)]
    return [
        f'<rect x="{x:g}" y="{y:g}" width="{wide}" height="{high}" rx="6"/>',
        f'<text class="name" x="{centre:g}" y="{y + 20:g}">{room}</text>',
        *(
            f'<text x="{centre:g}" y="{y + 36 + LINE * number:g}">{text}</text>'
            for number, text in enumerate(texts)
        ),
    ]


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    PICTURE.write_text(drawn(rooms()), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main()
