#!/usr/bin/env python3
"""Draw the rooms of the package, which of them import which, and the way of the data.

    python3 benchmarks/rooms_picture.py      writes rooms.svg and data.svg in docs/pictures

Both are read from the code.  A room is above all rooms that it imports, and names them.  A name
in brackets is an import back up, which should go.
"""

import argparse
import textwrap
from collections import Counter
from collections.abc import Mapping

import data_picture
from fresh_checkout import ROOT
from package_code import imports, room_of, rooms

PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"
BOX, GAP = (226, 92), (18, 20)
MARGIN, LETTERS, LINE = 16, 36, 14
STYLE = """
text { font: 11px sans-serif; fill: #57606a; text-anchor: middle }
.name { font: bold 15px sans-serif; fill: #1b1f24 }
rect { fill: #eef3f9; stroke: #34608f; stroke-width: 1.2 }
.ground { fill: #ffffff; stroke: none }
"""


def count_imports(modules: Mapping[str, list[str]]) -> dict[str, Counter[str]]:
    """Return how often each room imports from each other one."""
    return {
        room: Counter(
            other
            for name in names
            for other in map(room_of, imports(name))
            if other in set(modules) - {room}
        )
        for room, names in modules.items()
    }


def is_weaker_direction(counts: Mapping[str, Counter[str]], room: str, other: str) -> bool:
    """Return whether a room imports from one that imports more from it."""
    return counts[room][other] < counts[other][room]


def floors(counts: Mapping[str, Counter[str]]) -> list[list[str]]:
    """Return the rooms by floor, the highest first: each is above what it imports."""
    levels: dict[str, int] = {}

    def level(room: str) -> int:
        if room not in levels:
            below = [
                other for other in counts[room] if not is_weaker_direction(counts, room, other)
            ]
            levels[room] = 1 + max(map(level, below), default=-1)
        return levels[room]

    highest = max(map(level, counts))
    return [[room for room in counts if levels[room] == n] for n in range(highest, -1, -1)]


def draw(modules: Mapping[str, list[str]]) -> str:
    """Return the picture, as SVG."""
    counts = count_imports(modules)
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
            lines += box(room, len(modules[room]), describe_imports(counts, room, order), x, y)
    return "\n".join([*lines, "</svg>", ""])


def describe_imports(counts: Mapping[str, Counter[str]], room: str, order: list[str]) -> str:
    """Return what a room imports, as its box says it."""
    found = sorted(counts[room], key=order.index)
    lines = [f"({one})" if is_weaker_direction(counts, room, one) else one for one in found]
    return f"imports {', '.join(lines)}" if lines else "imports none of the others"


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
    for picture, text in (
        (PICTURE, draw(rooms())),
        (data_picture.PICTURE, data_picture.draw()),
    ):
        picture.write_text(text, encoding="utf-8")
        print(picture)


if __name__ == "__main__":
    main()
