#!/usr/bin/env python3
"""Compare the install of a fresh checkout with zc.buildout's own way, pip and uv.

    python3 benchmarks/fresh_installs.py [--repeat 5] [--only cold warm]

All install the distributions of the default site (Pyramid, SQLAlchemy, and what these
and the servers need) for this interpreter, from wheels of this checkout's cache, with no
network, and compile them.  The sides run in turns, so that a busy machine slows all
alike; medians are compared, of the time that passes and of the processors' own.  What is
not timed: the tools of each side (zc.buildout and pip in a virtual environment, uv in
another, ``bin/buildout`` made by bootstrap.py), and the making of the empty environments
that pip and uv install into.  uv is downloaded.

Cold: the wheels are there, and no egg.

install-from-cache  ``buildout`` with ``install-from-cache = true`` and zc.recipe.egg
pip                 ``pip install --no-index --find-links``, which compiles
uv                  ``uv pip install --offline --no-index --find-links --compile-bytecode``,
                    its own cache empty too
uv, unpacked        the same, once more: its cache has all wheels, unpacked
ours                ``bin/buildout -o`` with a section of pylonyard:pylons_app, locked: each
                    wheel's SHA-256 is compared with the lock, each file with RECORD

Warm: eggs, environments and wheels are in a shared cache that another checkout has filled.

floor               zc.buildout's own ``buildout -N`` with no parts
ours, eggs          the first ``bin/buildout -o`` of a checkout that has that section alone
ours, whole site    the first ``bin/buildout -o`` of the default site: checked, set up, live
bootstrap           ``python3 bootstrap.py --offline``: the tools, and the whole default site
bootstrap, tools    the same for a buildout without parts
venv and pip        ``python3 -m venv``, and ``pip install --no-index`` into it of the same
                    distributions, the tools' among them
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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fresh_checkout import ROOT, copy_checkout, filled_cache, share_cache

PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
OFFLINE = ["--no-index", "--find-links", str(ROOT / "cache" / "dist")]
FLOOR = "[buildout]\nparts =\n"
OURS = """\
[buildout]
extends = profiles/versions.cfg
parts = app
newest = false
[app]
recipe = pylonyard:pylons_app
name = measured
lock = profiles/pylock.toml
eggs =
    {eggs}
"""
STOCK = """\
[buildout]
extends = {root}/profiles/versions.cfg
parts = eggs
install-from-cache = true
newest = false
abi-tag-eggs = true
download-cache = {root}/cache
eggs-directory = {eggs_directory}
[eggs]
recipe = zc.recipe.egg
eggs =
    {eggs}
"""


@dataclass(frozen=True)
class Side:
    """One of the compared ways to install."""

    name: str
    commands: Callable[[], list[list[str | Path]]]
    """Prepares a run, and returns what is timed."""
    folder: Callable[[], Path]
    """Where that runs."""


class Bench:
    """A scratch folder with the tools of each side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        (self.cache / "dist").mkdir(parents=True)
        for wheel in (filled_cache() / "dist").glob("*.whl"):
            shutil.copy2(wheel, self.cache / "dist")
        share_cache(folder, self.cache)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP", "UV"))}
        self.environ = {**kept, "BUILDOUT_HOME": str(folder), "UV_CACHE_DIR": str(folder / "uv")}
        self.checkouts = 0
        self.checkout = self.fresh()
        self.run([PYTHON, "bootstrap.py", "--offline"], self.checkout)
        self.site, self.tools = self._pins("current/simplesite/env"), self._pins("bin/buildout")
        eggs = "\n    ".join(self.site)
        for place in (self.checkout, folder):
            (place / "floor.cfg").write_text(FLOOR)
        (self.checkout / "measured.cfg").write_text(OURS.format(eggs=eggs))
        (folder / "stock.cfg").write_text(
            STOCK.format(root=ROOT, eggs_directory=folder / "eggs", eggs=eggs)
        )
        self.stock = self._environment("stock", "zc.buildout", "zc.recipe.egg", "pip")

    def run(self, command: Iterable[str | Path], folder: Path) -> None:
        words = list(map(str, command))
        finished = subprocess.run(
            words,
            cwd=folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if finished.returncode:
            sys.exit(f"{' '.join(words)} exited {finished.returncode}:\n{finished.stdout[-3000:]}")

    def fresh(self) -> Path:
        """Return a new checkout, in a folder of its own as every checkout is."""
        self.checkouts += 1
        place = self.folder / f"checkout-{self.checkouts}"
        copy_checkout(place)
        return place

    def _pins(self, user: str) -> list[str]:
        """Return the distributions in the environment of ``user``: name==version."""
        path = self.checkout / user
        text = os.readlink(path) if path.is_symlink() else path.read_text()
        (home,) = (each for each in (self.cache / "sandboxes").iterdir() if each.name in text)
        lines = next(home.glob("lib/*/site-packages/pylonyard.pth")).read_text().splitlines()
        eggs = [Path(line).name.split("-") for line in lines if line.endswith(".egg")]
        return [f"{name}=={version}" for name, version, *_ in eggs]

    def _environment(self, name: str, *wanted: str) -> Path:
        home = self.folder / name
        self.run([PYTHON, "-m", "venv", home], self.folder)
        pins = [pin for pin in self.tools if pin.split("==")[0].replace("_", ".") in wanted]
        self.run([home / "bin" / "pip", "install", "-q", *OFFLINE, *pins], self.folder)
        return home

    def uv(self) -> Path:
        home = self.folder / "uv-tool"
        if not home.exists():
            self.run([PYTHON, "-m", "venv", home], self.folder)
            self.run([home / "bin" / "pip", "install", "-q", "uv"], self.folder)
        return home / "bin" / "uv"

    def empty(self, *names: str) -> None:
        for name in names:
            path = self.folder / name
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(True)

    def target(self) -> Path:
        """Return an empty virtual environment."""
        self.empty("target")
        self.run([PYTHON, "-m", "venv", "--without-pip", "target"], self.folder)
        return self.folder / "target" / "bin" / "python"

    def remove_built(self, checkout: Path) -> Path:
        """Take back what ``bin/buildout`` made of a checkout, itself left."""
        for name in ("parts", "releases", "current", "var", ".installed.cfg", ".pylonyard"):
            path = checkout / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(True)
        return checkout


def cold(bench: Bench) -> list[Side]:
    def stock() -> list[list[str | Path]]:
        bench.empty("eggs", ".installed.cfg", "parts", "bin", "develop-eggs")
        return [[bench.stock / "bin" / "buildout", "-c", "stock.cfg"]]

    def pip() -> list[list[str | Path]]:
        into = ["--python", bench.target()]
        return [[bench.stock / "bin" / "pip", *into, "install", *OFFLINE, *bench.site]]

    def uv(*emptied: str) -> list[list[str | Path]]:
        bench.empty(*emptied)
        words = ["pip", "install", "--offline", "--compile-bytecode", "--python", bench.target()]
        return [[bench.uv(), *words, *OFFLINE, *bench.site]]

    def ours() -> list[list[str | Path]]:
        bench.empty("eggs")
        bench.remove_built(bench.checkout)
        words = ["-o", "-c", "measured.cfg", f"buildout:eggs-directory={bench.folder}/eggs"]
        return [["bin/buildout", *words]]

    return [
        Side("install-from-cache", stock, lambda: bench.folder),
        Side("pip", pip, lambda: bench.folder),
        Side("uv", lambda: uv("uv"), lambda: bench.folder),
        Side("uv, unpacked", uv, lambda: bench.folder),
        Side("ours", ours, lambda: bench.checkout),
    ]


def warm(bench: Bench) -> list[Side]:
    made: list[Path] = []

    def first(*words: str) -> list[list[str | Path]]:
        bench.remove_built(bench.checkout)
        return [["bin/buildout", "-o", *words]]

    def bootstrap(*words: str) -> list[list[str | Path]]:
        for place in made:
            shutil.rmtree(place)
        made[:] = [bench.fresh()]
        (made[0] / "floor.cfg").write_text(FLOOR)
        return [[PYTHON, "bootstrap.py", "--offline", *words]]

    def venv_and_pip() -> list[list[str | Path]]:
        bench.empty("target")
        pins = sorted({*bench.site, *bench.tools})
        pip = bench.folder / "target" / "bin" / "pip"
        return [[PYTHON, "-m", "venv", "target"], [pip, "install", *OFFLINE, *pins]]

    return [
        Side(
            "floor",
            lambda: [[bench.stock / "bin" / "buildout", "-N", "-c", "floor.cfg"]],
            lambda: bench.folder,
        ),
        Side("ours, eggs", lambda: first("-c", "measured.cfg"), lambda: bench.checkout),
        Side("ours, whole site", first, lambda: bench.checkout),
        Side("bootstrap", bootstrap, lambda: made[0]),
        Side("bootstrap, tools", lambda: bootstrap("-c", "floor.cfg"), lambda: made[0]),
        Side("venv and pip", venv_and_pip, lambda: bench.folder),
    ]


def measure_once(bench: Bench, side: Side) -> tuple[float, float]:
    """Return the seconds that a run takes, and those of all processors that it uses."""
    commands = side.commands()
    began, used = time.perf_counter(), used_by_children()
    for command in commands:
        bench.run(command, side.folder())
    return time.perf_counter() - began, used_by_children() - used


def used_by_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


Medians = dict[str, tuple[float, float]]


def measure(bench: Bench, sides: list[Side], repeat: int) -> Medians:
    """Return the medians of each side, the sides run in turns; a first turn is left out."""
    taken: dict[str, list[tuple[float, float]]] = {side.name: [] for side in sides}
    for turn in range(repeat + 1):
        for side in sides:
            took = measure_once(bench, side)
            if turn:
                taken[side.name].append(took)
    return {
        name: (statistics.median(t for t, _ in runs), statistics.median(u for _, u in runs))
        for name, runs in taken.items()
    }


def table(title: str, medians: Medians, beside: str) -> None:
    print(f"{title:<20}  {'seconds':>8}  of {beside:<14}  {'processor':>9}  of {beside}")
    for name, (took, used) in medians.items():
        of_took, of_used = took / medians[beside][0], used / medians[beside][1]
        print(f"{name:<20}  {took:8.2f}  {of_took:<17.2f}  {used:9.2f}  {of_used:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5, help="runs of each side")
    parser.add_argument(
        "--only", nargs="+", choices=["cold", "warm"], default=["cold", "warm"], help="which half"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="installs-") as name:
        bench = Bench(Path(name))
        print(f"{len(bench.site)} distributions, {os.cpu_count()} processors", flush=True)
        if "cold" in options.only:
            table("cold", measure(bench, cold(bench), options.repeat), "uv")
        if "warm" in options.only:
            medians = measure(bench, warm(bench), options.repeat)
            table("warm", medians, "floor")
            table("warm", medians, "venv and pip")


if __name__ == "__main__":
    main()
