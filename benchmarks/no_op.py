#!/usr/bin/env python3
"""Measure a run with nothing to do, as a multiple of zc.buildout's own minimum.

    python3 benchmarks/no_op.py [--repeat 5] [--sites 1 50 200]
    python3 benchmarks/no_op.py --against COMMIT [--repeat 20]
    python3 benchmarks/no_op.py --extension [--repeat 20]

The floor is ``buildout -N`` with no parts, zc.buildout's own, as pip installs it.  A
side ``touched`` is a run after ``touch measured.cfg``: nothing differs, but the run
has to find that out part by part.  All sides run in turns, so that a busy machine
slows all of them alike; medians are compared.

With ``--against`` the sides are this checkout and an earlier commit of it: a run with
nothing to do, and ``bin/<site> status``; processor time, which a busy machine changes
least, and time.

With ``--extension`` the sides are two projects of somebody's own with a stock zc.buildout that
pip installed: one has a part ``zc.recipe.egg``, the other our extension and a release.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fresh_checkout import ROOT, copy_checkout, filled_cache, share_cache

FLOOR = "[buildout]\nparts =\n"


def config(sites: int) -> str:
    """Return a buildout of the default site, or of ``sites`` sites like it."""
    lines = ["[buildout]", "extends = buildout.cfg", "[ini]", "setup = false"]
    if sites > 1:
        lines += ["[release]", "unchecked = allow", "sites ="]
        lines += [f"    s{number}" for number in range(sites)]
        for number in range(sites):
            lines += [f"[s{number}]", "<= site", f"name = s{number}", f"port = {20000 + number}"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Side:
    """A command that is measured, where it runs."""

    folder: Path
    command: tuple[str, ...]
    touched: bool = False

    def seconds(self) -> float:
        if self.touched:
            (self.folder / "measured.cfg").touch()
            time.sleep(0.05)  # What is read as it is written proves nothing to the next run.
        began = time.perf_counter()
        subprocess.run(self.command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def measure(sides: dict[str, Side], repeat: int) -> dict[str, float]:
    """Return the median seconds of each side, the sides run in turns."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeat):
        for name, side in sides.items():
            taken[name].append(side.seconds())
    return {name: statistics.median(values) for name, values in taken.items()}


def stock_buildout(folder: Path, wheels: Path) -> Side:
    """Return zc.buildout's own ``buildout -N``, with no parts."""
    subprocess.run([sys.executable, "-m", "venv", folder / "stock"], check=True)
    pip = [folder / "stock/bin/pip", "install", "-q", "--no-index", "--find-links", wheels]
    subprocess.run([*pip, "zc.buildout", "setuptools<82", "wheel"], check=True)
    (folder / "stock" / "buildout.cfg").write_text(FLOOR)
    return Side(folder / "stock", ("bin/buildout", "-N"))


def use_cache(folder: Path, cache: Path) -> None:
    """Have the runs that follow use ``cache``, as ``folder`` tells them."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    share_cache(home, cache)
    os.environ["BUILDOUT_HOME"] = str(home)


def prepare_checkout(folder: Path, name: str, text: str, cache: Path) -> Path:
    """Return a fresh checkout in which the configuration ``text`` has run once."""
    checkout = folder / name
    copy_checkout(checkout)
    use_cache(folder, cache)
    (checkout / "measured.cfg").write_text(text)
    command = [sys.executable, "bootstrap.py", "-c", "measured.cfg"]
    subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    return checkout


EGG = """
[buildout]
parts = egg
newest = false

[egg]
recipe = zc.recipe.egg
eggs = Paste
"""

EXTENDED = """
[buildout]
extensions = pylonyard
parts = release

[site]
name = plain
eggs = Paste
environment = development

[ini]
template = plain.ini
"""

TEMPLATE = "[app:main]\nuse = egg:Paste#test\n"


def compare_with_stock(pairs: int, cache: Path) -> None:
    """Print what a run with nothing to do takes, with a part of an egg and with our extension."""
    with tempfile.TemporaryDirectory(prefix="no-op-") as name:
        folder = Path(name)
        python = folder / "env" / "bin" / "python"
        copy_checkout(folder / "checkout")
        use_cache(folder, cache)
        subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
        pip = [python, "-m", "pip", "install", "-q", "--no-index", "--find-links", cache / "dist"]
        subprocess.run([*pip, "zc.buildout", "zc.recipe.egg", "setuptools<82"], check=True)
        ours = ["--no-build-isolation", folder / "checkout"]
        subprocess.run([*pip, *ours], check=True)
        sides = {}
        for side, text in {"zc.recipe.egg": EGG, "extension": EXTENDED}.items():
            project = folder / side
            project.mkdir()
            (project / "buildout.cfg").write_text(text)
            (project / "plain.ini").write_text(TEMPLATE)
            sides[side] = Side(project, (str(folder / "env" / "bin" / "buildout"),))
            for _ in range(SPARED + 1):
                sides[side].seconds()
        medians = measure(sides, pairs)
    for side, median in medians.items():
        print(f"{side:>14}  {median:8.3f} s  {median / medians['zc.recipe.egg']:5.2f}")


SPARED = 2
"""Runs after which the next run finds that it has nothing to do."""


def deploy_checkout(folder: Path, commit: str, cache: Path) -> Path:
    """Return a checkout of a commit, or of this checkout as it is (""), with its release."""
    checkout = folder / (commit or "here")
    if commit:
        clone = ["git", "clone", "-q", "--no-checkout", ROOT, checkout]
        subprocess.run(clone, check=True)
        subprocess.run(["git", "checkout", "-q", commit], cwd=checkout, check=True)
    else:
        copy_checkout(checkout)
    use_cache(folder, cache)
    commands: list[list[str]] = [[sys.executable, "bootstrap.py"], *[["bin/buildout"]] * SPARED]
    for command in commands:
        subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    return checkout


def measure_once(checkout: Path, command: str) -> tuple[float, float]:
    """Return the seconds of processor time, and of time, that a command takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command.split(), cwd=checkout, stdout=subprocess.DEVNULL)
    taken = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, taken


def compare(commit: str, pairs: int, cache: Path) -> None:
    """Print what the commands of here and of a commit take, and their ratio."""
    print(f"{'command':>24}  {'':>9}  {'here':>8}  {'before':>8}  {'ratio':>5}")
    with tempfile.TemporaryDirectory(prefix="no-op-") as name:
        sides = [deploy_checkout(Path(name), each, cache) for each in ("", commit)]
        for command in ("bin/buildout", "bin/simplesite status"):
            figures = [[measure_once(side, command) for side in sides] for _ in range(pairs)]
            for index, kind in enumerate(("processor", "time")):
                here, before = (
                    statistics.median(pair[side][index] for pair in figures) for side in (0, 1)
                )
                output = f"{here:8.4f}  {before:8.4f}  {here / before:5.2f}"
                print(f"{command:>24}  {kind:>9}  {output}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, help="runs of each side; default: 5, or 20 pairs")
    parser.add_argument("--against", metavar="COMMIT", help="an earlier commit, to compare with")
    parser.add_argument(
        "--extension", action="store_true", help="compare our extension with stock zc.buildout"
    )
    parser.add_argument("--sites", type=int, nargs="+", default=[1, 50, 200], help="of a side")
    parser.add_argument("--cache", type=Path, help="wheels and eggs; default: that of the checkout")
    options = parser.parse_args()
    cache = options.cache or filled_cache()
    if options.against:
        compare(options.against, options.repeat or 20, cache)
        return
    if options.extension:
        compare_with_stock(options.repeat or 20, cache)
        return
    with tempfile.TemporaryDirectory(prefix="no-op-") as name:
        folder, command = Path(name), ("bin/buildout", "-c", "measured.cfg")
        sides = {"floor": stock_buildout(folder, cache / "dist")}
        for sites in options.sites:
            checkout = prepare_checkout(folder, f"{sites}-sites", config(sites), cache)
            sides[f"{sites} sites"] = Side(checkout, command)
            sides[f"{sites} touched"] = Side(checkout, command, touched=True)
        for side in sides.values():
            side.seconds()
        medians = measure(sides, options.repeat or 5)
    print(f"{'side':>12}  {'seconds':>8}  {'of the floor':>12}")
    for side, median in medians.items():
        print(f"{side:>12}  {median:8.2f}  {median / medians['floor']:12.2f}")


if __name__ == "__main__":
    main()
