"""Interrupt redeployments under load; no request may fail, and the next run repairs.

    python3 benchmarks/kill_redeploys.py --kills 200 --seed 1
    python3 benchmarks/kill_redeploys.py --kills 60 --signals TERM INT
    python3 benchmarks/kill_redeploys.py --failing changes writes sizes

One checkout is served through its private Apache, and asked without pause. Again and
again a run of ``bin/buildout && bin/simplesite restart`` that changes a setting is begun,
and its whole process group killed at a random moment: with SIGKILL, or as ``--signals``
says in turn.  With ``--failing``, each system call of a kind fails instead, one a run:
``changes`` of folders and names (EIO), ``writes`` of data to a full disk (ENOSPC), or to a
file that gets too long (EFBIG), ``sizes``: by strace, in ``bin/buildout`` with all its
processes and in ``restart``.

A try counts if no request failed, the page is that of the release before or the new one,
the next run exits 0 and shows what it was to show, one supervisor with one server is
there then, and nothing half-made.  As root; all of it is in a pid namespace.
"""

import argparse
import functools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from fresh_checkout import ROOT, UNSHARE, copy_checkout, filled_cache, require, share_cache

sys.path[:0] = [str(ROOT / part) for part in ("tests", "tests/system", "recipes")]

from load import Load, get  # noqa: E402
from ports import free_port  # noqa: E402
from pylonyard.system.processes import marked, server_marker, supervisor_marker  # noqa: E402

REDEPLOY = '$IN_BUILDOUT bin/buildout -o "$@" && $IN_RESTART bin/simplesite restart'
CHANGES = "mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,"
CHANGES += "rmdir,chmod,fchmod,fchmodat,fsync,fdatasync,ftruncate"
WRITES = "write,pwrite64,writev,sendfile"
FAILURES = {"changes": (CHANGES, "EIO"), "writes": (WRITES, "ENOSPC"), "sizes": (WRITES, "EFBIG")}
PROGRAMS = {"IN_BUILDOUT": "--follow-forks --seccomp-bpf", "IN_RESTART": ""}
"""Of a restart, strace follows the command alone: the new server is to outlive it."""


class Site:
    """A checkout that is served, and its redeployments."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkout"
        copy_checkout(self.path)
        # Its own: what a kill leaves there must not be another's.
        cache = folder / "cache"
        shutil.copytree(filled_cache() / "dist", cache / "dist")
        share_cache(folder, cache)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
        self.environ = {**clean, "BUILDOUT_HOME": str(folder)}
        self.port = free_port()
        self.words = [f"site:port={free_port()}", f"vhost:httpd-port={self.port}"]
        self.title = ""
        self.output = ""
        """What the last redeployment printed that was made to fail."""
        self.lasting = 3.0
        """How long an undisturbed redeployment takes, in seconds: a guess that is mended."""

    def begin(self, *words: str | Path, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(word) for word in words],
            cwd=self.path,
            env={**self.environ, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str | Path) -> str:
        run = self.begin(*words)
        output, _ = run.communicate()
        if run.returncode:
            raise RuntimeError(f"{words} exited {run.returncode}: {output[-1500:]}")
        return output

    def set_up(self) -> None:
        self.run(sys.executable, "bootstrap.py", "--offline", *self.words)
        self.redeploy("Title 0")
        self.run("bin/simplesite-httpd", "start")

    def options(self, title: str) -> list[str]:
        return [*self.words, f"ini:settings=[app:main]\n    simplesite.title = {title}"]

    def redeploy(self, title: str) -> None:
        began = time.monotonic()
        self.run("sh", "-c", REDEPLOY, "sh", *self.options(title))
        self.lasting = (self.lasting + time.monotonic() - began) / 2
        self.title = title

    def interrupt(self, title: str, number: signal.Signals, moment: float) -> bool:
        """Kill a redeployment after ``moment`` seconds; tell whether it was still at work."""
        run = self.begin("sh", "-c", REDEPLOY, "sh", *self.options(title))
        try:
            run.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, number)
            run.communicate()
            return True
        run.communicate()
        return False

    def traced(self, title: str, program: str, calls: str, inject: str = "") -> str:
        """Redeploy, one program of it traced; return the trace."""
        trace = self.path.parent / "trace"
        strace = f"strace {PROGRAMS[program]} --quiet=all --output={trace} --trace={calls}"
        run = self.begin(
            *("sh", "-c", REDEPLOY, "sh", *self.options(title)), **{program: f"{strace} {inject}"}
        )
        self.output, _ = run.communicate()
        return trace.read_text(errors="replace")

    def steps(self, program: str, calls: str) -> list[tuple[str, int]]:
        """Return each system call of a redeployment, with how many a process makes at most."""
        self.title = f"Traced {program} {calls}"
        trace = self.traced(self.title, program, calls)
        made: dict[str, Counter[str]] = defaultdict(Counter)
        for pid, call in re.findall(r"^(\d* *)(\w+)\(", trace, re.M):
            made[call][pid] += 1
        return [(call, max(counts.values())) for call, counts in sorted(made.items())]

    def redeploy_with_error(
        self, title: str, program: str, call: str, error: str, number: int
    ) -> bool:
        """Have the ``number``-th call of a kind fail in each process; tell whether one did."""
        inject = f"--inject={call}:error={error}:when={number}"
        failed = re.findall(r".*\(INJECTED\)", self.traced(title, program, call, inject))
        if "Traceback" in self.output and not any(re.search(r"\([12], ", line) for line in failed):
            print(f"{program}, {call} {number}: expected one line, got {self.output}", flush=True)
        return bool(failed)

    def problems(self, title: str, load: Load, failed: int) -> Iterator[str]:
        """Yield what is wrong after a cut, and after the next run."""
        yield from load.failed[failed:]
        ini = (self.path / "current/simplesite/production.ini").read_text()
        if f"title = {title}" not in ini and f"title = {self.title}" not in ini:
            yield "current is neither the release before nor the new one"
        if (shown := self.shown()) not in (self.title, title):
            yield f"{shown!r} is shown in place of {self.title!r}"
        failed = len(load.failed)
        try:
            self.redeploy(title)
        except RuntimeError as error:
            yield str(error)
        yield from load.failed[failed:]
        if (shown := self.shown()) != title:
            yield f"{shown!r} is shown in place of {title!r}"
        yield from self.leftovers()

    def shown(self) -> str:
        """Return the title of the first page, as Apache serves it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=60) as answer:
            found = re.search("<title>(.*?)</title>", answer.read().decode())
        return found.group(1) if found else ""

    def leftovers(self) -> Iterator[str]:
        identity = f"{self.path.resolve()}:simplesite"
        for what, marker in (
            ("supervisors", supervisor_marker(identity)),
            ("servers", server_marker(identity)),
        ):
            if len(found := marked(marker)) != 1:
                yield f"{len(found)} {what}: {found}"
        for path in [*(self.path / "releases").glob(".*"), *self.path.glob("bin/.*")]:
            yield f"left over: {path}"


class Series:
    """Tries one after the other, under load."""

    def __init__(self, site: Site, load: Load) -> None:
        self.site, self.load = site, load
        self.number = self.done = self.whole = 0

    def attempt(self, how: Callable[[str], bool], what: str) -> bool:
        """Cut one redeployment short, and run another; return whether it came to that."""
        self.number, failed = self.number + 1, len(self.load.failed)
        title = f"Title {self.number}"
        was_cut = how(title)
        found = list(self.site.problems(title, self.load, failed))
        self.done += was_cut
        self.whole += was_cut and not found
        for line in found:
            print(f"{self.number}, {what}: {line}", flush=True)
        return was_cut

    def kill(self, kills: int, numbers: list[signal.Signals], dice: random.Random) -> None:
        while self.done < kills:
            number, moment = (
                numbers[self.done % len(numbers)],
                dice.uniform(0.02, self.site.lasting),
            )
            cut = functools.partial(self.site.interrupt, number=number, moment=moment)
            self.attempt(cut, f"{number.name} after {moment:.2f} s")

    def fail(self, kind: str) -> None:
        calls, error = FAILURES[kind]
        for program in PROGRAMS:
            whole, done = self.whole, self.done
            for call, times in self.site.steps(program, calls):
                for number in range(1, times + 1):
                    failing = functools.partial(
                        self.site.redeploy_with_error,
                        program=program,
                        call=call,
                        error=error,
                        number=number,
                    )
                    self.attempt(failing, f"{program}, {error} of {call} {number}")
            print(
                f"{kind}, {program}: {self.whole - whole} of {self.done - done} repaired",
                flush=True,
            )


def main() -> int:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--kills", type=int, default=50, metavar="N", help="default: 50")
    words.add_argument("--seed", type=int, default=1, metavar="S", help="of the random moments")
    words.add_argument(
        "--signals",
        nargs="+",
        choices=("KILL", "TERM", "INT"),
        default=["KILL"],
        help="which kill, in turn; default: KILL",
    )
    words.add_argument("--failing", nargs="+", choices=FAILURES, help="in place of the kills")
    words.add_argument("--folder", type=Path, help="where to work; default: a temporary one")
    words.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = words.parse_args()
    require("unshare", "apache2", *["strace"] * bool(given.failing), root=True)
    if not given.inside:
        return subprocess.call([*UNSHARE, sys.executable, *sys.argv, "--inside"])
    with tempfile.TemporaryDirectory(prefix="redeploys-", dir=given.folder) as folder:
        site = Site(Path(folder))
        site.set_up()
        clients = [get("/"), get("/"), get("/static/site.css")]
        with Load(f"http://127.0.0.1:{site.port}", clients) as load:
            series = Series(site, load)
            if given.failing:
                for kind in given.failing:
                    series.fail(kind)
            else:
                numbers = [signal.Signals[f"SIG{name}"] for name in given.signals]
                series.kill(given.kills, numbers, random.Random(given.seed))
        site.run("bin/simplesite", "stop")
        site.run("bin/simplesite-httpd", "stop")
    print(f"{series.whole} of {series.done} redeployments cut short were repaired by the next run")
    print(load.summary("all of these"))
    return 0 if series.whole == series.done and not load.failed else 1


if __name__ == "__main__":
    sys.exit(main())
