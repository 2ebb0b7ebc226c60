"""Kill installs with SIGKILL at random moments, run again, and count what was repaired.

    python3 benchmarks/kill_installs.py --kills 200 --kinds cold offline

Each try takes a fresh copy of this checkout with a cache that holds the wheels and
nothing else, starts an install in a pid namespace of its own (``unshare``, as root),
kills every process of it, and runs the same command again.  ``--row 4`` kills a checkout
four times, each time a run on what the kill before has left, and then repairs it.  In
turn these are killed, each ``--kills`` times:

cold      ``python3 bootstrap.py`` with no eggs and no environments
offline   the same with --offline
warm      a run that makes a second release, of a sandbox that has one
source    ``bin/buildout`` that builds an sdist into the empty egg directory

A try counts if the second run exits 0, the right release is current, what was live
before the kill is live after it, each egg is what its RECORD says, and nothing
half-made is left.
"""

import argparse
import base64
import csv
import hashlib
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fresh_checkout import UNSHARE, copy_checkout, filled_cache, require, share_cache

STORES = ("eggs/v5/*", "sandboxes", "projects", "dist")
LASTING = {"cold": 8.0, "offline": 8.0, "warm": 2.0, "source": 3.0}
KINDS = tuple(LASTING)

SDIST_CFG = """\
[buildout]
parts = probe
newest = false
versions = versions
offline = true

[versions]
killprobe = 1.0

[probe]
recipe = pylonyard:pylons_app
name = probe
eggs = killprobe
"""


@dataclass
class Try:
    """One checkout, with a cache of its own."""

    folder: Path
    kind: str

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def environ(self) -> dict[str, str]:
        """Return an environment that pip can build in without a network."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
        return {
            **clean,
            "BUILDOUT_HOME": str(self.folder),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.cache / "dist"),
        }

    def command(self) -> list[str]:
        """Return what is killed, and run again."""
        port = f"site:port={8081 if self.kind == 'warm' else 8080}"
        if self.kind == "source":
            return ["bin/buildout", "-c", "probe.cfg"]
        if self.kind == "warm":
            return ["bin/buildout", "-o", port]
        words = ["--offline"] if self.kind == "offline" else []
        # The application's own setup is no install, and takes a second.
        return [sys.executable, "bootstrap.py", *words, port, "ini:setup=false"]

    def start(self) -> "subprocess.Popen[bytes]":
        output = (self.folder / "killed.log").open("wb")
        return subprocess.Popen(
            [*UNSHARE, *self.command()],
            cwd=self.checkout,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def run(self, command: list[str] | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command or self.command(),
            cwd=self.checkout,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill every process of the namespace: with its first, the kernel kills the rest."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for child in children.read_text().split():
        os.kill(int(child), signal.SIGKILL)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def make_template(folder: Path) -> None:
    """Make what each try starts from: a checkout, and a cache of wheels."""
    copy_checkout(folder / "checkout")
    (folder / "checkout" / "probe.cfg").write_text(SDIST_CFG)
    dist = folder / "cache" / "dist"
    dist.mkdir(parents=True)
    for path in (filled_cache() / "dist").iterdir():
        if path.is_file():
            os.link(path, dist / path.name) if _links(path, dist) else shutil.copy2(path, dist)
    _make_sdist(dist)


def _links(path: Path, folder: Path) -> bool:
    return path.stat().st_dev == folder.stat().st_dev


def _make_sdist(folder: Path) -> None:
    tree = folder / "killprobe-1.0"
    (tree / "killprobe").mkdir(parents=True)
    for number in range(300):
        (tree / "killprobe" / f"m{number}.py").write_text(f"number = {number}\n" * 50)
    (tree / "killprobe" / "__init__.py").write_text("")
    (tree / "setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name='killprobe', version='1.0', packages=['killprobe'])\n"
    )
    (tree / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: killprobe\nVersion: 1.0\n")
    with tarfile.open(folder / "killprobe-1.0.tar.gz", "w:gz") as archive:
        archive.add(tree, tree.name)
    shutil.rmtree(tree)


def make_try(template: Path, folder: Path, kind: str) -> Try:
    """Return a fresh try; what it is to find installed is."""
    folder.mkdir()
    tried = Try(folder, kind)
    shutil.copytree(template / "checkout", tried.checkout, symlinks=True)
    shutil.copytree(template / "cache", tried.cache, symlinks=True, copy_function=os.link)
    share_cache(folder, tried.cache)
    if kind in ("warm", "source"):
        first = [sys.executable, "bootstrap.py", "--offline", "site:port=8080"]
        finished = tried.run(first)
        if finished.returncode:
            sys.exit(f"the first run failed:\n{finished.stdout}")
    return tried


def problems(tried: Try, before: str) -> Iterator[str]:
    """Yield what is wrong after a kill and a second run."""
    if tried.kind in ("warm", "source") and before != "releases/1":
        yield from _live(tried, before)
    finished = tried.run()
    if finished.returncode:
        yield f"the second run exited {finished.returncode}: {finished.stdout[-1500:]}"
        return
    yield from _served(tried)
    yield from damaged_eggs(tried.cache)
    yield from leftovers(tried)


def _live(tried: Try, before: str) -> Iterator[str]:
    """Check that a killed run left the old release live, or made a complete new one."""
    if before != "releases/2" or not (tried.checkout / before / "manifest.json").is_file():
        yield f"the kill has left {before!r} current"


def _served(tried: Try) -> Iterator[str]:
    if tried.kind == "source":
        homes = (tried.cache / "sandboxes").glob("*/lib/python*/site-packages/pylonyard.pth")
        lines = {line for home in homes for line in home.read_text().splitlines()}
        wanted = [line for line in lines if "killprobe" in line]
        if [Path(line).name[:14] for line in wanted] != ["killprobe-1.0-"]:
            yield f"the sdist was adopted from {wanted}"
        return
    port = 8081 if tried.kind == "warm" else 8080
    ini = tried.checkout / "current" / "simplesite" / "production.ini"
    if f"port = {port}" not in ini.read_text():
        yield f"{ini} is not the release wanted"
    checked = tried.run(["current/simplesite/bin/python", "-c", "import simplesite, waitress"])
    if checked.returncode:
        yield f"the application cannot be imported: {checked.stdout[-500:]}"


def damaged_eggs(cache: Path) -> Iterator[str]:
    """Yield each file of an egg that is missing, or not what its RECORD says."""
    for egg in sorted(cache.glob("eggs/v5/*/*.egg")):
        records = list(egg.glob("*.dist-info/RECORD"))
        if len(records) != 1:
            yield f"{egg} has no RECORD"
            continue
        for row in csv.reader(records[0].read_text().splitlines()):
            # Buildout gives the metadata's folder another name, of the same project.
            name = re.sub(r"^[^/]+\.dist-info/", f"{records[0].parent.name}/", row[0])
            if row[1] and not _matches(egg / name, row[1]):
                yield f"{egg}: {name}"


def _matches(path: Path, digest: str) -> bool:
    if ".data/" in str(path):
        return True  # unpacked elsewhere
    if not path.is_file():
        return False
    actual = hashlib.sha256(path.read_bytes()).digest()
    return base64.urlsafe_b64encode(actual).rstrip(b"=").decode() == digest.partition("=")[2]


def leftovers(tried: Try) -> Iterator[str]:
    """Yield what is half-made in the stores and in the sandbox."""
    for store in STORES:
        for folder in tried.cache.glob(store):
            for path in folder.iterdir():
                is_half_made = path.name.startswith((".draft-", ".wheels-", "tmp"))
                if is_half_made or (path.name.startswith("build") and path.is_dir()):
                    yield f"left over: {path}"
    for path in (tried.checkout / "releases").glob(".*"):
        yield f"left over: {path}"


def current(tried: Try) -> str:
    try:
        return os.readlink(tried.checkout / "current")
    except OSError:
        return ""


def kill_run(tried: Try, moment: float) -> bool:
    """Start a run and kill it after ``moment`` seconds; tell whether it was still at work."""
    process = tried.start()
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        kill(process)
        return True
    return False


@dataclass
class Series:
    """Kills of all kinds in turn, several in a row of one checkout."""

    folder: Path
    kinds: tuple[str, ...]
    dice: random.Random
    lasting: dict[str, float] = field(default_factory=lambda: dict(LASTING))
    """Seconds of an undisturbed run: an estimate that is corrected later."""

    def attempt(self, number: int, kind: str, kills: int) -> tuple[int, int]:
        """Kill a checkout's runs ``kills`` times in a row; return repaired, and killed."""
        tried = make_try(self.folder / "template", self.folder / f"try-{number}", kind)
        moments = []
        for _ in range(kills):
            moments.append(self.dice.uniform(0.02, self.lasting[kind]))
            if not kill_run(tried, moments[-1]):
                self.lasting[kind] = moments.pop()
                break
        started = time.monotonic()
        wrong = list(problems(tried, current(tried)))
        self.lasting[kind] = (self.lasting[kind] + time.monotonic() - started) / 2
        shutil.rmtree(tried.folder)
        output = ", ".join(f"{moment:.2f}" for moment in moments)
        for line in wrong:
            print(f"{kind}, killed after {output} s: {line}", flush=True)
        return 0 if wrong else len(moments), len(moments)

    def run(self, kills: int, row: int) -> dict[str, int]:
        """Do ``kills`` kills of each kind, ``row`` of them a checkout; return the repaired."""
        make_template(self.folder / "template")
        repaired, done = dict.fromkeys(self.kinds, 0), dict.fromkeys(self.kinds, 0)
        for number in itertools.count():
            kind = min(self.kinds, key=lambda each: done[each])
            if done[kind] == kills:
                return repaired
            whole, make_checkout = self.attempt(number, kind, min(row, kills - done[kind]))
            repaired[kind] += whole
            done[kind] += make_checkout


def main() -> int:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--kills", type=int, default=50, metavar="N", help="of each kind")
    words.add_argument("--seed", type=int, default=1, metavar="S", help="of the random moments")
    words.add_argument("--row", type=int, default=1, metavar="R", help="kills of one checkout")
    words.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="default: all")
    words.add_argument("--folder", type=Path, help="where to work; default: a temporary one")
    given = words.parse_args()
    require("unshare", root=True)
    with tempfile.TemporaryDirectory(prefix="kills-", dir=given.folder) as folder:
        series = Series(Path(folder), tuple(given.kinds), random.Random(given.seed))
        repaired = series.run(given.kills, given.row)
    for kind, count in repaired.items():
        print(f"{kind}: {count} of {given.kills} kills were repaired by the next run")
    return 0 if set(repaired.values()) == {given.kills} else 1


if __name__ == "__main__":
    sys.exit(main())
