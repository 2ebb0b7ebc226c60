"""What the pages show, done in a fresh checkout: commands, files, and all output."""

import doctest
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkouts import CACHE, ROOT, Checkout, fetch
from zope.testing.renormalizing import RENormalizing

pytestmark = pytest.mark.system

PAGES = sorted((ROOT / "docs" / "recipes").glob("*.rst"))
SHOWN_PORTS = ("8080", "8081")

# What differs from run to run, or from machine to machine; all else is compared.
ANYWHERE = [
    (re.compile(r"\b[0-9a-f]{64}\b"), "SECRET"),
    (re.compile(r"(?<=sandboxes/)[0-9a-f]{20}\b"), "DIGEST"),
    (re.compile(r"(?<=mod_wsgi/)[0-9a-f]{20}\b"), "DIGEST"),
    (re.compile(r"\bprocess \d+ since [-0-9]+ [:0-9]+"), "process PID since TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"for Python 3[.0-9]*[0-9]"), "for Python 3"),
    (re.compile(r'(?<=WSGIPythonHome ")[^"]*'), "PREFIX"),
    (re.compile(r"(?m)(?<=^    su )\S+ \S+$"), "ACCOUNT GROUP"),
    (re.compile(r'(?<="user": ")[^"]*'), "ACCOUNT"),
    (re.compile(r"\S+(?= test -x /etc/init\.d/)"), "ACCOUNT"),
]


@dataclass(frozen=True)
class File:
    """A file that a page has its reader write."""

    path: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command that a page has its reader type, and the output that it shows."""

    line: str
    output: str = ""


def dedented(block: str) -> str:
    return re.sub(r"(?m)^    ", "", block).strip("\n") + "\n"


def steps(page: str) -> Iterator[File | Command]:
    """Yield what a page of a recipe says to do, in order."""
    example = page.partition("\nAn example\n")[2]
    blocks = re.finditer(
        r"(?m)(?:^``(?P<path>[\w./-]+)``:\n\n)?"
        r"^\.\. code-block:: (?P<kind>ini|console)\n\n(?P<block>(?:    .*\n|\n)+)",
        example,
    )
    for found in blocks:
        block = dedented(found["block"])
        if found["kind"] == "ini":
            assert found["path"], f"expected the name of a file before:\n{block}"
            yield File(found["path"], block)
        else:
            for line, output in re.findall(r"(?m)^\$ (.*)\n((?:(?!\$ ).*\n)*)", block):
                yield Command(line, output.rstrip("\n") + "\n" if output.strip() else "")


class Reader:
    """Somebody who does what a page says, on ports that are free."""

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

    def checker(self) -> RENormalizing:
        own = [
            (re.compile(re.escape(str(self.site.path))), "/srv/simplesite"),
            (re.compile(re.escape(str(CACHE))), "/srv/simplesite/cache"),
        ]
        own += [(re.compile(rf"\b{port}\b"), shown) for shown, port in self.ports.items()]
        return RENormalizing([*own, *ANYWHERE])


def expect_as_shown(command: Command, got: str, checker: RENormalizing) -> None:
    """Compare all of the output; no ellipsis, no white space left out of account."""
    if not checker.check_output(command.output, got, 0):
        example = doctest.Example(command.line + "\n", command.output)
        difference = checker.output_difference(example, got, doctest.REPORT_NDIFF)
        pytest.fail(f"$ {command.line}\n{difference}", pytrace=False)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_recipe_s_example_does_and_prints_what_its_page_shows(path, checkout, free_port):
    if path.stem == "mod_wsgi_build" and not (shutil.which("apxs") or shutil.which("apxs2")):
        pytest.skip("lacks apxs")
    reader = Reader(checkout(), free_port)
    reader.site.bootstrap("--version")

    commands = 0
    for step in steps(path.read_text()):
        if isinstance(step, File):
            reader.write(step)
        else:
            expect_as_shown(step, reader.type(step.line), reader.checker())
            commands += 1
    assert commands > 1


def own_application() -> Iterator[File | Command]:
    """Yield what the README says to do for one's own application, in order."""
    text = (ROOT / "README.md").read_text()
    section = text.partition("\n## Your own application\n")[2].partition("\n### ")[0]
    blocks = re.finditer(r"(?s)([^\n]*)\n\n```(\w+)\n(.*?)```", section)
    for before, language, block in (found.groups() for found in blocks):
        if language == "sh":
            yield from (Command(line) for line in block.splitlines())
        else:
            (path,) = re.findall(r"`([\w./]+)`(?:, its template)?:$", before)
            yield File(path, block)


def test_the_readme_alone_suffices_to_serve_one_s_own_application(checkout, free_port):
    reader = Reader(checkout(), free_port)

    printed = {}
    for step in own_application():
        if isinstance(step, File):
            reader.write(step)
        else:
            printed[step.line] = reader.type(step.line)
            assert reader.status == 0, printed[step.line]

    port = reader.ports["8080"]
    assert list(printed) == [
        "python3 bootstrap.py",
        "bin/hello start",
        "curl http://127.0.0.1:8080/",
        "bin/hello stop",
    ]
    assert printed["bin/hello start"] == f"hello: started, http://127.0.0.1:{port}/ answers\n"
    assert printed["curl http://127.0.0.1:8080/"] == "Good morning."
    assert printed["bin/hello stop"] == "hello: stopped\n"


def test_the_readme_s_buildout_of_one_s_own_is_whole_and_short():
    configs = [step for step in own_application() if isinstance(step, File)]
    (config,) = [file.text for file in configs if Path(file.path).name == "buildout.cfg"]

    lines = [line for line in config.splitlines() if line]
    assert len(lines) <= 12
    assert lines[:2] == ["[buildout]", "extends = profiles/base.cfg"]
