#!/usr/bin/env python3
"""Measure which statements of recipes/pylonyard the tests run, in all their processes.

    python3 benchmarks/coverage_of_suite.py [--least 95] [--folder DIR] [-- WORDS OF PYTEST]

The suite runs in a scratch copy of this checkout.  There, importing ``pylonyard``
starts the measuring, so that it needs no variable, no option and no environment of
its own: whichever interpreter runs the package counts, in whichever copy of it that
a test makes.  Needs what ``python3 bootstrap.py test`` has downloaded.  Exits with 1
if there is less than ``--least``, and with pytest's own status if a test fails.
"""

import argparse
import ast
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from fresh_checkout import ROOT, copy_checkout

SETTINGS = """\
[run]
data_file = {folder}/data/measured
parallel = true
include = */recipes/pylonyard/*
omit = *.j2
sigterm = true

[paths]
pylonyard =
    {folder}/tree/recipes/pylonyard
    */recipes/pylonyard

[report]
omit = *.j2
exclude_also = ^__import__..runpy..
"""

# Any account runs this, in any interpreter.  A script that is about to measure itself
# is run again: what has begun already is not measured.
START = """\
import runpy, sys
if sys.version_info >= (3, 10) and "measuring" not in sys.modules:
    sys.path.insert(0, "{folder}/tool")
    import measuring
    del sys.path[0]
    if caller["__name__"] == "__main__":
        runpy.run_path(caller["__file__"], run_name="__main__")
        sys.exit()
"""

MEASURING = """\
import os, subprocess
import coverage
measured = coverage.Coverage(config_file="{folder}/settings", messages=False)
for warning in "no_data", "unimported_source", "preimported_source":
    setattr(measured, "_warn_" + warning, False)
measured._auto_save = True
measured.start()

def saving_before(function):
    def saved(*words):
        save()
        return function(*words)
    return saved

def save():
    try:
        measured.save()
    except Exception:
        pass

class Popen(subprocess.Popen):
    # What a child runs before it becomes another program.
    def __init__(self, *words, preexec_fn=None, **more):
        def prepare():
            preexec_fn()
            save()
        super().__init__(*words, preexec_fn=preexec_fn and prepare, **more)

for name in "execv", "execve", "_exit":
    setattr(os, name, saving_before(getattr(os, name)))
subprocess.Popen = Popen
"""

STARTING = ("__init__.py", "server/shim/gentle.py")
"""What an interpreter runs first: whatever imports the package, and a script of it."""

STARTED = '__import__("runpy").run_path("{folder}/start.py", {{"caller": globals()}})\n'


def prepare(folder: Path) -> Path:
    """Return a copy of this checkout in which all is measured."""
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    copy_checkout(tree)
    subprocess.run(["git", "-C", str(tree), "init", "--quiet"], check=True)
    shutil.copytree(ROOT / "cache" / "dist", tree / "cache" / "dist")
    (folder / "data").mkdir(exist_ok=True)
    folder.chmod(0o755)
    (folder / "data").chmod(0o1777)  # other accounts serve sites
    for name, text in (
        ("settings", SETTINGS),
        ("start.py", START),
        ("tool/measuring.py", MEASURING),
    ):
        (folder / name).write_text(text.format(folder=folder))
    for name in STARTING:
        start_in(tree / "recipes" / "pylonyard" / name, folder)
    return tree


def start_in(module: Path, folder: Path) -> None:
    """Have ``module`` start the measuring, once its imports are done."""
    text = module.read_text()
    leading = itertools.takewhile(
        lambda node: isinstance(node, ast.Expr | ast.Import), ast.parse(text).body
    )
    lines = text.splitlines(keepends=True)
    lines.insert(list(leading)[-1].end_lineno or 0, "\n" + STARTED.format(folder=folder))
    module.write_text("".join(lines))


def unpack_tool(folder: Path) -> None:
    """Put coverage.py where only what is measured finds it."""
    series = "cp{}{}".format(*sys.version_info)
    wheels = sorted((ROOT / "cache" / "dist").glob(f"coverage-*-{series}-*.whl"))
    if not wheels:
        sys.exit("coverage_of_suite: no coverage in the cache: run: python3 bootstrap.py test")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        wheel.extractall(folder / "tool")


def run(tree: Path, words: list[str]) -> int:
    """Return the exit status of the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
    environ = {**kept, "BUILDOUT_HOME": str(tree / "no-buildout-home")}
    command = [sys.executable, "bootstrap.py", "test", "-n", "0", *words]
    return subprocess.run(command, cwd=tree, env=environ).returncode


def report(folder: Path) -> float:
    """Print the statements that were not run; return the percentage that were."""
    sys.path.insert(0, str(folder / "tool"))
    import coverage

    package = folder / "tree" / "recipes" / "pylonyard"
    measured = coverage.Coverage(
        data_file=str(folder / "measured"), config_file=str(folder / "settings"), messages=False
    )
    measured.combine([str(folder / "data")], keep=True)
    for module in package.rglob("*.py"):
        measured.get_data().touch_file(str(module))
    return measured.report(show_missing=True, skip_covered=True, precision=2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--least", type=float, default=95, help="percent; below it, exit 1")
    parser.add_argument(
        "--folder", type=Path, help="work there and keep it; what was measured there before counts"
    )
    parser.add_argument("words", nargs="*", help="words for pytest, such as paths")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="coverage-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        unpack_tool(folder)
        failed = run(prepare(folder.resolve()), options.words)
        reached = report(folder.resolve())
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{reached:.2f} % of the statements; expected at least {options.least:g} %")
    sys.exit(failed or reached < options.least)


if __name__ == "__main__":
    main()
