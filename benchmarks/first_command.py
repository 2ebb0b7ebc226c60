#!/usr/bin/env python3
"""Compare the first command with ``python -m venv`` and pip for the same distributions.

    python3 benchmarks/first_command.py [--repeat 5] [--python COMMAND]

ours  ``python3 bootstrap.py`` in a fresh clone: the tools, the default site and all that it
      needs installed, set up, checked and live
pip   ``python3 -m venv``, then ``pip install`` into it of the distributions that the former
      has installed, the tools among them, at the same versions

The sides run in turns, so that a busy machine or network slows both alike; medians are
compared, of the seconds that pass and of the processors' own.  Every run has a home
directory of its own, and asks the package index that pip is configured for.

cold    the cache of pip and that of the checkout are empty
warm    the wheels are there: in the cache of the checkout; for pip, which does not need the
        index then, in a folder (``--no-index --find-links``)
shared  the checkout shares the whole cache, installed eggs too, of one that was made before;
        pip as before
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fresh_checkout import ROOT, share_cache

PINS = """
import sys
from importlib.metadata import distributions
print(*sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions(path=sys.argv[1:])}))
"""


@dataclass(frozen=True)
class Duration:
    """The duration of commands, in seconds."""

    passed: float
    processors: float


class Bench:
    """A scratch folder, in which each run has a folder and a home of its own."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.python = python
        self.source = folder / "source"
        # As others would clone it: of what is not committed, nothing is measured.
        self._run(["git", "clone", "--quiet", "--bare", ROOT, self.source], folder, folder)
        self.runs = 0
        self.caches = folder / "caches"
        self.pins: list[str] = []

    def run_bootstrap(self, state: str) -> Duration:
        run, home = self._new()
        checkout = run / "checkout"
        self._run(["git", "clone", "--quiet", self.source, checkout], run, home)
        if state == "warm":
            shutil.copytree(self.caches / "dist", checkout / "cache" / "dist")
        elif state == "shared":
            (home / ".buildout").mkdir()
            share_cache(home / ".buildout", self.caches)
        taken = self._timed([[self.python, "bootstrap.py", "site:port=8080"]], checkout, home)
        if not self.pins:
            self.pins = self._pins(checkout)
            shutil.copytree(checkout / "cache" / "dist", self.caches / "dist")
            self.run_bootstrap("shared")
        shutil.rmtree(run)
        return taken

    def run_pip(self, state: str) -> Duration:
        run, home = self._new()
        wheels = [] if state == "cold" else ["--no-index", "--find-links", self.caches / "dist"]
        commands = [
            [self.python, "-m", "venv", "env"],
            ["env/bin/python", "-m", "pip", "install", "--quiet", *wheels, *self.pins],
        ]
        taken = self._timed(commands, run, home)
        shutil.rmtree(run)
        return taken

    def _new(self) -> tuple[Path, Path]:
        """Return the folder and the home of a run."""
        self.runs += 1
        run = self.folder / f"run-{self.runs}"
        (run / "home").mkdir(parents=True)
        return run, run / "home"

    def _timed(self, commands: Iterable[list[str | Path]], folder: Path, home: Path) -> Duration:
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        for command in commands:
            self._run(command, folder, home)
        passed, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        return Duration(passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def _run(self, command: list[str | Path], folder: Path, home: Path) -> str:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "XDG"))}
        kept.pop("BUILDOUT_HOME", None)
        kept.pop("PIP_CACHE_DIR", None)
        finished = subprocess.run(
            [os.fspath(word) for word in command],
            cwd=folder,
            env={**kept, "HOME": os.fspath(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if finished.returncode:
            words = " ".join(map(str, command))
            sys.exit(f"{words} exited {finished.returncode}:\n{finished.stdout[-3000:]}")
        return finished.stdout

    def _pins(self, checkout: Path) -> list[str]:
        """Return name==version of each distribution that bootstrap.py has installed."""
        eggs = sorted((checkout / "cache" / "eggs").glob("*/*/*.egg"))
        output = self._run([self.python, "-c", PINS, *eggs], checkout, checkout)
        return output.split()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5, help="runs of each side")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of both")
    options = parser.parse_args()
    states = ("cold", "warm", "shared")
    with tempfile.TemporaryDirectory(prefix="first-command-") as name:
        bench = Bench(Path(name), options.python)
        sides = {"ours": bench.run_bootstrap, "pip": bench.run_pip}
        taken: dict[tuple[str, str], list[Duration]] = {}
        for _ in range(options.repeat):
            for state in states:
                for side, run in sides.items():
                    taken.setdefault((state, side), []).append(run(state))
    print(f"{len(bench.pins)} distributions; medians of {options.repeat}, in seconds")
    print(f"{'':8}{'ours':>8}{'pip':>8}{'ratio':>8}{'processors: ours':>20}{'pip':>8}{'ratio':>8}")
    for state in states:
        figures = [
            statistics.median(getattr(each, kind) for each in taken[state, side])
            for kind in ("passed", "processors")
            for side in sides
        ]
        ours, pip, our_work, pip_work = figures
        print(
            f"{state:8}{ours:8.2f}{pip:8.2f}{ours / pip:8.2f}"
            f"{our_work:20.2f}{pip_work:8.2f}{our_work / pip_work:8.2f}"
        )


if __name__ == "__main__":
    main()
