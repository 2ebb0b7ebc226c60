#!/usr/bin/env python3
"""Start runs of buildout in pairs, and look whether any mixed, or blocked another.

    python3 benchmarks/pairs_of_runs.py [--pairs 100] [--seed 1] [--kinds KIND ...]

There are three kinds of pairs.  Two runs with different settings in one sandbox, at once:
what is there afterwards has to be, to the byte, what one of them makes alone, and
whoever could not run has to say in one line which process did.  A run killed with
SIGKILL while it holds the lock (in a pid namespace, as root): the next run, at once,
has to succeed.  And runs of two sandboxes that share a cache in which the application's
environment has to be made anew: both have to succeed.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fresh_checkout import copy_checkout, filled_cache, require, share_cache
from kill_installs import UNSHARE, kill

# Pairs take turns, so that no run finds that there is nothing to do.
PORTS = ((9001, 9002), (9003, 9004))
Tree = dict[str, object]


@dataclass
class Sandbox:
    """A checkout, and the result of each setting without another run."""

    path: Path
    environ: dict[str, str]
    alone: dict[int, Tree]
    lost: int = 0
    """Number of runs that were refused because another was at work."""

    def words(self, port: int) -> list[str]:
        return ["bin/buildout", "-o", f"site:port={port}"]

    def start(self, port: int, *prefix: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*prefix, *self.words(port)],
            cwd=self.path,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def tree(self) -> Tree:
        """Return all that a run makes, but the time at which it did."""
        found: Tree = {}
        for top in ("current/", "parts", "bin", ".installed.cfg", ".pylonyard/installed.cfg"):
            found |= dict(_files(self.path / top))
        return {name.removeprefix(f"{self.path}/"): content for name, content in found.items()}


def _files(top: Path) -> Iterator[tuple[str, object]]:
    paths = [top] if top.is_file() else sorted(top.rglob("*"))
    for path in paths:
        if path.is_symlink():
            yield str(path), os.readlink(path)
        elif path.name == "manifest.json":
            yield str(path), {**json.loads(path.read_text()), "made": ""}
        elif path.is_file():
            yield str(path), (path.stat().st_mode, path.read_bytes())


def made(folder: Path, name: str) -> Sandbox:
    """Return a sandbox in which a run was made for each setting."""
    checkout = folder / name
    copy_checkout(checkout)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
    sandbox = Sandbox(checkout, {**clean, "BUILDOUT_HOME": str(folder)}, {})
    first = [sys.executable, "bootstrap.py", "--offline", "site:port=9000"]
    _succeed(subprocess.run(first, cwd=checkout, env=sandbox.environ, capture_output=True))
    for port in (port for pair in PORTS for port in pair):
        words, environ = sandbox.words(port), sandbox.environ
        _succeed(subprocess.run(words, cwd=checkout, env=environ, capture_output=True))
        sandbox.alone[port] = sandbox.tree()
    return sandbox


def _succeed(finished: "subprocess.CompletedProcess[bytes]") -> None:
    if finished.returncode:
        sys.exit(f"{finished.args} failed:\n{finished.stdout.decode()}{finished.stderr.decode()}")


def run_pair(sandbox: Sandbox, ports: tuple[int, ...], delay: float) -> Iterator[str]:
    """Run two settings in one sandbox; yield what is wrong afterwards."""
    runs = []
    for port in ports:
        runs.append((port, sandbox.start(port)))
        time.sleep(delay)
        delay = 0
    output = {port: run.communicate()[0] for port, run in runs}
    won = [port for port, run in runs if run.returncode == 0]
    for port, _ in runs:
        (other,) = (run for one, run in runs if one != port)
        if port not in won:
            sandbox.lost += 1
            yield from _check_refusal(output[port], other.pid)
    tree = sandbox.tree()
    if not won or not any(tree == sandbox.alone[port] for port in won):
        first = sandbox.alone[(won or [ports[0]])[0]]
        yield f"mixed: {sorted(name for name in tree if tree[name] != first.get(name))}"


def _check_refusal(message: str, holder: int) -> Iterator[str]:
    lines = [line for line in message.splitlines() if line.startswith("Error: ")]
    who = rf"\(process {holder}, since \d\d:\d\d:\d\d: buildout -o\)"
    if len(lines) != 1 or not re.search(rf"another run is at work in .* {who}", lines[0]):
        yield f"the loser did not say that {holder} holds the lock: {message}"


def kill_holder(sandbox: Sandbox, ports: tuple[int, ...], moment: float) -> Iterator[str]:
    """Kill a run that holds the lock; yield what keeps the next from running."""
    lock = sandbox.path / ".pylonyard.lock"
    lock.write_text("")
    run = sandbox.start(ports[0], *UNSHARE)
    while run.poll() is None and not lock.read_text():
        time.sleep(0.005)
    time.sleep(moment)
    if run.poll() is None:
        kill(run)
    following = sandbox.start(ports[1])
    output = following.communicate()[0]
    if following.returncode:
        yield f"blocked: {output}"
    elif sandbox.tree() != sandbox.alone[ports[1]]:
        yield "mixed by a killed run"


def run_with_shared_cache(
    folder: Path, pair: list[Sandbox], port: int, stores: list[str]
) -> Iterator[str]:
    """Run in two sandboxes whose cache has empty ``stores``; yield what is wrong."""
    tools = (pair[0].path / "bin/buildout").read_text()
    for store in stores:
        for path in (folder / "cache" / store).iterdir():
            if path.name not in tools:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    runs = [(sandbox, sandbox.start(port)) for sandbox in pair]
    for sandbox, run in runs:
        output = run.communicate()[0]
        if run.returncode:
            yield f"with a shared cache: {output}"
        elif sandbox.tree() != sandbox.alone[port]:
            yield "mixed by way of the cache"


KINDS = {
    "at-once": "pairs at once in a sandbox",
    "killed": "holders of the lock killed",
    "sharing": "pairs with a shared cache",
}


class Series:
    """Two sandboxes that share a cache, and pairs of runs of each kind in them."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.folder, self.dice = folder, dice
        (folder / "cache").mkdir()
        shutil.copytree(filled_cache() / "dist", folder / "cache" / "dist")
        share_cache(folder, folder / "cache")
        self.one, self.other = made(folder, "one"), made(folder, "other")

    def run(self, kind: str, pairs: int) -> int:
        """Do so many pairs of a kind; return how many went wrong."""
        wrong = 0
        for number in range(pairs):
            lines = list(self.pair(kind, number))
            wrong += bool(lines)
            for line in lines:
                print(f"{kind}, pair {number}: {line}", flush=True)
        lost = f", {self.one.lost} with a loser" if kind == "at-once" else ""
        print(f"{pairs} {KINDS[kind]}{lost}: {wrong} mixed, blocked or misnamed", flush=True)
        return wrong

    def pair(self, kind: str, number: int) -> Iterator[str]:
        """Yield what is wrong with a pair."""
        ports, dice = PORTS[number % 2], self.dice
        if kind == "at-once":
            return run_pair(self.one, ports, dice.choice((0, dice.uniform(0, 0.5))))
        if kind == "killed":
            return kill_holder(self.one, ports, dice.uniform(0, 0.8))
        # To build the project anew takes ten times as long as all else.
        stores = ["sandboxes", "configs", *["projects"] * (number % 10 == 0)]
        return run_with_shared_cache(self.folder, [self.one, self.other], ports[0], stores)


def main() -> int:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--pairs", type=int, default=100, metavar="N", help="of each kind")
    words.add_argument("--seed", type=int, default=1, metavar="S", help="of the random moments")
    words.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="default: all")
    given = words.parse_args()
    require("unshare", root="killed" in given.kinds)
    with tempfile.TemporaryDirectory(prefix="pairs-") as name:
        series = Series(Path(name), random.Random(given.seed))
        wrong = [series.run(kind, given.pairs) for kind in given.kinds]
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
