#!/usr/bin/env python3
"""Make docs/pictures/terminal.svg: a terminal in which a fresh checkout is served.

    python3 benchmarks/terminal_picture.py [--to FILE]

The commands are run in a copy of this checkout, at a terminal, and what they print is
drawn: the picture is what somebody sees.  Port 8080 has to be free.
"""

import argparse
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from xml.sax.saxutils import escape

from fresh_checkout import ROOT, copy_checkout, filled_cache, share_cache

COMMANDS = (
    "python3 bootstrap.py",
    "bin/simplesite start",
    "bin/simplesite status",
)
COLUMNS = 96
LETTER, LINE, MARGIN = 8.4, 20, 16
"""Sizes in pixels: a letter's width, a line's height, and the space around all."""

COLOURS = {
    "31": "#ff8a80",
    "32": "#8ddb8c",
    "33": "#ffd479",
    "34": "#82b1ff",
    "35": "#d7a6ff",
    "36": "#7fdbe6",
}
PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" \
font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14">
<title>{title}</title>
<rect width="100%" height="100%" rx="8" fill="#1e2430"/>
<g fill="#d8dee9">
{lines}
</g>
</svg>
"""
NO_BREAK = "\N{NO-BREAK SPACE}"
"""Several of them are kept, whatever draws the picture."""

Span = tuple[str, str]
"""Text, and the number of its colour; empty without one."""


def run_at_terminal(command: str, folder: Path, environ: dict[str, str]) -> str:
    """Return all that a command writes to a terminal.

    :raises SystemExit: if it fails
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, COLUMNS, 0, 0))
    process = subprocess.Popen(
        ["sh", "-c", command], cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    output = b""
    try:
        while some := os.read(ours, 65536):
            output += some
    except OSError:  # Linux's way to say that nobody has the other end any more
        pass
    os.close(ours)
    text = output.decode()
    if process.wait():
        sys.exit(f"terminal_picture: {command} exited {process.returncode}:\n{text}")
    return text


def spans(line: str) -> list[Span]:
    """Return what stands in a line at last: what was drawn over is gone."""
    shown = re.split(r"\r\x1b\[K|\r(?=.)", line.rstrip("\r"))[-1]
    found, colour = [], ""
    for text, codes in re.findall(r"([^\x1b]*)(?:\x1b\[([\d;]*)m)?", shown):
        if text:
            found.append((text, colour))
        colour = next((code for code in codes.split(";") if code in COLOURS), "")
    return found


def lines_of(text: str) -> list[list[Span]]:
    """Return the lines of a terminal, long ones broken as it breaks them."""
    lines = []
    for line in text.rstrip("\n").split("\n"):
        lines.append([])
        room = COLUMNS
        for text, colour in spans(line):
            while text:
                if not room:
                    lines.append([])
                    room = COLUMNS
                lines[-1].append((text[:room], colour))
                room, text = room - len(text[:room]), text[room:]
    return lines


def draw(lines: list[list[Span]]) -> str:
    """Return the picture of lines, as SVG."""
    rows = []
    for number, line in enumerate(lines):
        top, left = MARGIN + LINE * (number + 0.75), float(MARGIN)
        for text, colour in line:
            width = LETTER * len(text)
            fill = f' fill="{COLOURS[colour]}"' if colour else ""
            rows.append(
                f'<text x="{left:.1f}" y="{top:.0f}" textLength="{width:.1f}"{fill}>'
                f"{escape(text).replace(' ', NO_BREAK)}</text>"
            )
            left += width
    return PICTURE.format(
        width=2 * MARGIN + LETTER * COLUMNS,
        height=2 * MARGIN + LINE * len(lines),
        title="A terminal: " + ", ".join(COMMANDS),
        lines="\n".join(rows),
    )


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument(
        "--to",
        type=Path,
        default=ROOT / "docs" / "pictures" / "terminal.svg",
        metavar="FILE",
        help="default: docs/pictures/terminal.svg",
    )
    given = words.parse_args()
    lines: list[list[Span]] = []
    with tempfile.TemporaryDirectory(prefix="terminal-") as name:
        checkout = Path(name, "pylonyard")
        copy_checkout(checkout)
        share_cache(Path(name), filled_cache(), eggs=Path(name, "eggs"))
        environ = {**os.environ, "BUILDOUT_HOME": name, "TERM": "xterm-256color"}
        try:
            for command in COMMANDS:
                lines.append([("$ ", "32"), (command, "")])
                lines += lines_of(run_at_terminal(command, checkout, environ).replace(name, "~"))
        finally:
            subprocess.run(["bin/simplesite", "stop"], cwd=checkout, stdout=subprocess.DEVNULL)
    given.to.write_text(draw(lines))
    print(f"{given.to}: {len(lines)} lines, {given.to.stat().st_size} bytes")


if __name__ == "__main__":
    main()
