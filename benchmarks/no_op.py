#!/usr/bin/env python3
"""How long a run with nothing to do takes, as a multiple of zc.buildout's own floor.

    python3 benchmarks/no_op.py [--repeat 5] [--sites 1 50 200]

The floor is ``buildout -N`` with no parts.  All sides run in turns in one scratch
checkout, so that a busy machine slows all of them alike; medians are compared.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fresh_checkout import ROOT, copy_checkout

FLOOR = "[buildout]\nparts =\n"


def config(sites: int) -> str:
    """Return a buildout of the default site, or of ``sites`` sites like it."""
    lines = ["[buildout]", "extends = staging.cfg", "[ini]", "setup = false"]
    if sites > 1:
        lines += ["[release]", "unchecked = allow", "sites ="]
        lines += [f"    s{number}" for number in range(sites)]
        for number in range(sites):
            lines += [f"[s{number}]", "<= site", f"name = s{number}", f"port = {20000 + number}"]
    return "\n".join(lines) + "\n"


def seconds(checkout: Path, *words: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        ["bin/buildout", *words], cwd=checkout, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def measure(sides: dict[str, tuple[Path, list[str]]], repeat: int) -> dict[str, float]:
    """Return the median seconds of each side, the sides run in turns."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeat):
        for name, (checkout, words) in sides.items():
            taken[name].append(seconds(checkout, *words))
    return {name: statistics.median(values) for name, values in taken.items()}


def prepared(folder: Path, name: str, text: str, cache: Path) -> Path:
    """Return a fresh checkout in which the configuration ``text`` has run once."""
    checkout = folder / name
    copy_checkout(checkout)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    shared = f"download-cache = {cache}\neggs-directory = {cache}/eggs\n"
    (home / "default.cfg").write_text(f"[buildout]\n{shared}")
    os.environ["BUILDOUT_HOME"] = str(home)
    (checkout / "measured.cfg").write_text(text)
    command = [sys.executable, "bootstrap.py", "-c", "measured.cfg"]
    subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    return checkout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="runs of each side")
    parser.add_argument("--sites", type=int, nargs="+", default=[1, 50, 200])
    parser.add_argument("--cache", type=Path, default=ROOT / "cache", help="wheels and eggs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="no-op-") as name:
        folder, words = Path(name), ["-c", "measured.cfg"]
        floor = prepared(folder, "floor", FLOOR, options.cache)
        sides = {"floor": (floor, ["-N", *words])}
        for sites in options.sites:
            checkout = prepared(folder, f"{sites}-sites", config(sites), options.cache)
            sides[f"{sites} sites"] = (checkout, words)
        medians = measure(sides, options.repeat)
    print(f"{'side':>10}  {'seconds':>8}  {'of the floor':>12}")
    for side, median in medians.items():
        print(f"{side:>10}  {median:8.2f}  {median / medians['floor']:12.2f}")


if __name__ == "__main__":
    main()
