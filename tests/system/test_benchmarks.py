"""The measuring programs of ``benchmarks/``, as somebody finds them in a fresh clone."""

import ast
import subprocess
import sys

import pytest
from checkouts import ROOT, Checkout, copy_checkout

pytestmark = pytest.mark.system

PROGRAMS = [
    path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "__main__" in path.read_text()
]


def options(path):
    """Yield each option that a program takes, as its source has it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            yield node.args[0].value, {keyword.arg for keyword in node.keywords}


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_a_program_says_what_it_does_and_what_each_option_is(path):
    output = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True)

    assert (output.returncode, output.stderr) == (0, "")
    assert f"python3 benchmarks/{path.name}" in output.stdout
    assert [name for name, given in options(path) if "help" not in given] == []


def test_a_fresh_clone_s_cache_is_filled_and_nothing_else_is_made(tmp_path, clean_environ):
    clone, home = tmp_path / "clone", tmp_path / "home"
    copy_checkout(clone)
    home.mkdir()
    subprocess.run(["git", "init", "--quiet", clone], check=True)
    before = {path.name for path in clone.iterdir()}
    environ = {name: text for name, text in clean_environ.items() if name != "BUILDOUT_HOME"}
    site = Checkout(clone, {**environ, "HOME": str(home), "PYTHONPATH": "benchmarks"})

    output = site.run(sys.executable, "-c", "import fresh_checkout as c; print(c.filled_cache())")

    assert output.stdout == f"{clone / 'cache'}\n"
    assert list((clone / "cache" / "dist").glob("zc?buildout-*.whl"))
    assert {path.name for path in clone.iterdir()} == before | {"cache"}
