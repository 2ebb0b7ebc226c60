"""A reader who follows the instructions on a page of the documentation."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pages
from checkouts import Checkout, fetch

SHOWN_PORTS = ("8080", "8081")


@dataclass(frozen=True)
class File:
    """A file that the reader of a page writes."""

    path: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command that the reader of a page types, and the output on the page."""

    line: str
    output: str = ""


def steps(page: Path, heading: str) -> Iterator[File | Command]:
    """Yield what a page says to do below a heading, in order."""
    for block in pages.blocks(page, heading):
        if block.kind == "console":
            for line, output in re.findall(r"(?m)^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text):
                yield Command(line, output.rstrip("\n") + "\n" if output.strip() else "")
        elif block.kind in pages.TYPED:
            yield from map(Command, block.lines.splitlines())
        else:
            assert block.file, f"expected the name of a file before:\n{block.text}"
            yield File(block.file, block.text)


class Reader:
    """A reader who follows a page, but uses free ports."""

    def __init__(self, site: Checkout, free_port: Callable[[], int]) -> None:
        self.site = site
        self.ports = {shown: str(free_port()) for shown in SHOWN_PORTS}
        self.status = 0
        site.controls |= {"simplesite", "hello"}

    def translated(self, text: str) -> str:
        for shown, port in self.ports.items():
            text = re.sub(rf"\b{shown}\b", port, text)
        return text

    def write(self, file: File) -> None:
        path = self.site.path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.translated(file.text))

    def type(self, line: str) -> str:
        """Return what a command prints, as a terminal shows it."""
        if line == "echo $?":
            return f"{self.status}\n"
        if line.startswith("curl "):
            status, text = fetch(self.translated(line.split()[1]))
            assert status == 200
            return text
        done = self.site.run("sh", "-c", self.translated(line), check=False)
        self.status = done.returncode
        return str(done.stdout)
