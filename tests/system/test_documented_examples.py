"""Run the examples of the pages in a fresh checkout: commands, files, and all output."""

import doctest
import re
import shutil
from pathlib import Path

import pytest
from checkouts import CACHE, ROOT
from readers import Command, File, Reader, steps
from zope.testing.renormalizing import RENormalizing

pytestmark = pytest.mark.system

README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs" / "recipes").glob("*.rst"))

# Readers are no root.
ROOT_IS_WARNED = (re.compile(r"(?m)^\S+: warning: runs as root, [^\n]*\n"), "")

# What differs from run to run, or from machine to machine; all else is compared.
ANYWHERE = [
    # A busy machine shows the progress of what otherwise takes no two seconds.
    (re.compile(r"(?m)^[A-Z][^\n]*: (?:\d+ of \d+ [^\n]*, )?\d+ s\n"), ""),
    ROOT_IS_WARNED,
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


def checker(reader: Reader) -> RENormalizing:
    own = [
        (re.compile(re.escape(str(reader.site.path))), "/srv/simplesite"),
        (re.compile(re.escape(str(CACHE))), "/srv/simplesite/cache"),
    ]
    own += [(re.compile(rf"\b{port}\b"), shown) for shown, port in reader.ports.items()]
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
    reader.site.bootstrap("query", "buildout:directory")  # makes bin/buildout, and no release

    commands = 0
    for step in steps(path, "An example"):
        if isinstance(step, File):
            reader.write(step)
        else:
            expect_as_shown(step, reader.type(step.line), checker(reader))
            commands += 1
    assert commands > 1


def test_the_readme_alone_suffices_to_serve_one_s_own_application(checkout, free_port):
    reader = Reader(checkout(), free_port)

    printed = {}
    for step in steps(README, "Your own application"):
        if isinstance(step, File):
            reader.write(step)
        else:
            printed[step.line] = re.sub(*ROOT_IS_WARNED, reader.type(step.line))
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
    configs = [step for step in steps(README, "Your own application") if isinstance(step, File)]
    (config,) = [file.text for file in configs if Path(file.path).name == "buildout.cfg"]

    lines = [line for line in config.splitlines() if line]
    assert len(lines) <= 12
    assert lines[:2] == ["[buildout]", "extends = profiles/base.cfg"]
