#!/usr/bin/env python3
"""Fill the disk under runs of buildout, at every page, file and moment, and mend it.

    python3 benchmarks/full_disk.py [--moments 60] [--seed 1] [--kinds KIND ...]

As root: all is in a mount namespace, the sandbox and its cache on a file system of
their own (tmpfs).  A run that makes a new release, or the first one of a sandbox, is
given so many pages, or so many files, more than there are, one more at each try until
it succeeds; or it is stopped at a random moment, at which the disk becomes full; or no
file may be longer than so many bytes.  A run that fails has to say so in one line, and
to leave live what was.  Then there is room again: the next run has to make, to the
byte, what an undisturbed one makes, and to leave nothing half-made.
"""

import argparse
import configparser
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from fresh_checkout import filled_cache, require, share_cache
from kill_installs import UNSHARE
from pairs_of_runs import PORTS, Sandbox, Tree, made

Run: TypeAlias = "subprocess.Popen[str]"
PAGE = os.sysconf("SC_PAGESIZE")
LIMITS = (0, 1, 64, 200, 400, 700, 1000, 1500, 2000, 3000, 4000, 6000, 9000)
KINDS = ("pages", "files", "moments", "first", "limits")
STORES = ("sandboxes", "projects", "configs", "users", "verified")


class Disk:
    """A file system of its own, on ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        words = ["mount", "-t", "tmpfs", "-o", "size=4g,mode=755", "none", folder]
        subprocess.run(words, check=True)

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)

    def leave_room(self, *, pages: int | None = None, files: int | None = None) -> None:
        """Leave room for so many more pages or files."""
        status = os.statvfs(self.folder)
        if pages is not None:
            used = (status.f_blocks - status.f_bfree) * status.f_frsize
            self.remount(f"size={used + pages * PAGE}")
        if files is not None:
            self.remount(f"nr_inodes={status.f_files - status.f_ffree + files}")

    def empty(self) -> None:
        self.remount("size=4g,nr_inodes=1m")


def mask_new_secrets(sandbox: Sandbox, tree: Tree) -> Tree:
    """Return a tree in which secrets that were made anew do not differ."""
    secrets = {p.read_bytes(): p.name.encode() for p in sandbox.path.glob("var/secrets/*/*")}
    result: Tree = {}
    for name, content in tree.items():
        if isinstance(content, dict):
            files = {k: v for k, v in content["files"].items() if not k.endswith(".ini")}
            content = {**content, "files": files}
        elif isinstance(content, tuple):
            mode, text = content
            for secret, label in secrets.items():
                text = text.replace(secret, label)
            content = (mode, _sections(text) if name.endswith("installed.cfg") else text)
        result[name] = content
    return result


def _sections(record: bytes) -> object:
    """Return what a record says: in which order depends on what was installed anew."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.read_string(record.decode())
    return {
        name: {option: sorted(value.split()) for option, value in section.items()}
        for name, section in parser.items()
    }


def reset(folder: Path, sandbox: Sandbox) -> None:
    """Make a sandbox as it was before its first run, but for its tools."""
    kept = (sandbox.path / "bin/buildout").read_text()
    for name in ("parts", "releases", "var", ".pylonyard", "develop-eggs"):
        shutil.rmtree(sandbox.path / name, ignore_errors=True)
    files = {f"bin/{path.name}" for path in sandbox.path.glob("bin/*")} - {"bin/buildout"}
    for name in ("current", ".installed.cfg", *files):
        (sandbox.path / name).unlink(missing_ok=True)
    for store in STORES:
        for path in (folder / "cache" / store).glob("*"):
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


class Series:
    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.folder, self.dice, self.disk = folder, dice, Disk(folder)
        (folder / "cache").mkdir()
        shutil.copytree(filled_cache() / "dist", folder / "cache" / "dist")
        share_cache(folder, folder / "cache")
        self.sandbox = made(folder, "sandbox")
        self.alone = {
            port: mask_new_secrets(self.sandbox, tree) for port, tree in self.sandbox.alone.items()
        }
        self.number = 0
        self.lasting = 3.0
        self.failed = 0
        self.places: set[str] = set()

    def port(self) -> int:
        """Return a setting that is not the current one."""
        self.number += 1
        return (*PORTS[0], *PORTS[1])[self.number % 4]

    def attempt(self, disturb: Callable[[int], Run], kind: str) -> Iterator[str]:
        """Disturb a run, make room, run again; yield the problems."""
        sandbox, port = self.sandbox, self.port()
        if kind == "first":
            reset(self.folder, sandbox)
        before = _live(sandbox)
        run = disturb(port)
        output = run.communicate()[0]
        self.disk.empty()
        self.has_failed = run.returncode != 0
        if self.has_failed:
            self.failed += 1
            yield from self._failure(output, before)
        following = sandbox.start(port)
        mended = following.communicate()[0]
        if following.returncode:
            yield f"the next run failed: {mended}"
        else:
            made, alone = mask_new_secrets(sandbox, sandbox.tree()), self.alone[port]
            differing = [n for n in sorted({*made, *alone}) if made.get(n) != alone.get(n)]
            if differing:
                yield f"the next run made something else: {differing}"
        yield from self._left_over()

    def _failure(self, message: str, before: object) -> Iterator[str]:
        errors = [x for x in message.splitlines() if x.startswith(("Error: ", "buildout: cannot"))]
        if len(errors) != 1 or "Traceback" in message:
            yield f"expected one line, got {message}"
        elif place := re.search(r"cannot \w+(?: it in)? (/\S+)", errors[0]):
            name = place[1].rstrip(":;,").replace(str(self.folder), "")
            self.places.add(re.sub(r"[0-9a-f]{20}|(?<=releases/)[^/]+|tmp\w+", "*", name))
        if _live(self.sandbox) != before:
            yield f"what was live has changed: {errors}"

    def _left_over(self) -> Iterator[str]:
        own = ("releases", "parts", "bin", "var", ".pylonyard")
        tops = [self.sandbox.path / name for name in own]
        tops += [self.folder / "cache" / name for name in STORES]
        for top in tops:
            for path in top.glob("*" if top.name in STORES else "**/*"):
                if path.name.startswith((".draft-", "tmp")):
                    yield f"left over: {path}"

    def pages(self, room: int) -> Iterator[str]:
        def disturb(port: int) -> Run:
            self.disk.leave_room(pages=room)
            return self.sandbox.start(port)

        return self.attempt(disturb, "pages")

    def files(self, room: int) -> Iterator[str]:
        def disturb(port: int) -> Run:
            self.disk.leave_room(files=room)
            return self.sandbox.start(port)

        return self.attempt(disturb, "files")

    def remount_at_random(self, kind: str) -> Iterator[str]:
        def disturb(port: int) -> Run:
            run = self.sandbox.start(port)
            try:
                run.wait(self.dice.uniform(0.1, self.lasting))
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGSTOP)
                self.disk.leave_room(pages=0, files=0)
                os.killpg(run.pid, signal.SIGCONT)
            return run

        return self.attempt(disturb, kind)

    def limit(self, size: int) -> Iterator[str]:
        def disturb(port: int) -> Run:
            old = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
            try:
                return self.sandbox.start(port)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, old)

        return self.attempt(disturb, "limits")

    def attempts(self, kind: str, moments: int) -> Iterator[tuple[str, list[str]]]:
        """Yield each try of a kind, and what went wrong with it."""
        if kind in ("moments", "first"):
            began = time.monotonic()
            list(self.attempt(self.sandbox.start, kind))
            self.lasting = (time.monotonic() - began) * 0.7
            for number in range(moments):
                yield str(number), list(self.remount_at_random(kind))
        elif kind == "limits":
            for size in LIMITS:
                yield f"{size} bytes", list(self.limit(size))
        else:
            for room in range(1000):
                yield f"room for {room}", list(getattr(self, kind)(room))
                if not self.has_failed:
                    return


def _live(sandbox: Sandbox) -> object:
    """Return what is live, to the byte."""
    current = sandbox.path / "current"
    if not current.is_symlink():
        return None
    tree = {n: c for n, c in sandbox.tree().items() if n.startswith("current/")}
    return os.readlink(current), json.dumps(tree, default=repr, sort_keys=True)


def main() -> int:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--moments", type=int, default=60, metavar="N", help="at which it fills")
    words.add_argument("--seed", type=int, default=1, metavar="S", help="of the moments")
    words.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="default: all")
    given = words.parse_args()
    require("unshare", root=True)
    if "PYLONYARD_APART" not in os.environ:
        program = [sys.executable, *sys.argv]
        os.execvpe(UNSHARE[0], [*UNSHARE, *program], {**os.environ, "PYLONYARD_APART": "1"})
    all_wrong = 0
    with tempfile.TemporaryDirectory(prefix="full-") as name:
        series = Series(Path(name), random.Random(given.seed))
        for kind in given.kinds:
            done = wrong = series.failed = 0
            series.places = set()
            for tried, lines in series.attempts(kind, given.moments):
                done, wrong = done + 1, wrong + bool(lines)
                for line in lines:
                    print(f"{kind}, {tried}: {line}", flush=True)
            where = ", ".join(sorted(series.places))
            print(
                f"{kind}: {done} tries, {series.failed} failed for want of room, at "
                f"{len(series.places)} places ({where}); {wrong} not repaired",
                flush=True,
            )
            all_wrong += wrong
        subprocess.run(["umount", name], check=True)
    return 1 if all_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
