#!/usr/bin/env python3
"""Measure the cost and the gain of threads that only receive requests, in mod_wsgi.

    python3 benchmarks/daemon_threads.py [--repeat 5] [--requests 3000] [--clients 16]

The first page of the default site is asked for by ``ab``, through the private Apache, on
three sides: ``threads = 2`` of each process alone; with the default ``reading-threads``
beside them; and as many threads as these have in all, each of which has the application.
All sides run in turns, so that a busy machine slows all of them alike; medians are
compared, and the memory (PSS) that the daemon processes have then.  At last 40 clients
send half of a body, and it is measured how long another waits.
As root, with Debian's apache2, apache2-dev, apache2-utils and build-essential.
"""

import argparse
import http.client
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from fresh_checkout import copy_checkout, filled_cache, require, share_cache
from kill_redeploys import free_port

PYTHON = "/usr/bin/python3"
"""A Python that every account can read, since the account of the daemon processes has to."""

SIDES = {
    "2 threads": ["vhost:reading-threads=0"],
    "2, and 50 that read": [],
    "52 threads": ["vhost:reading-threads=0", "vhost:threads=52"],
}
HALF = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nname"


class Side:
    """A checkout that is served with some number of threads."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.path, self.port = folder, free_port()
        copy_checkout(folder)
        own = ["site:mode=mod_wsgi", "site:user=www-data", f"vhost:httpd-port={self.port}"]
        self.run(PYTHON, "bootstrap.py", *own, *words)
        self.run("bin/simplesite-httpd", "start")

    def run(self, *words: str) -> None:
        subprocess.run(words, cwd=self.path, check=True, stdout=subprocess.DEVNULL)

    def load(self, requests: int, clients: int) -> tuple[float, float]:
        """Return the requests of a second, and the milliseconds that 99 % of them took."""
        words = ["ab", "-q", "-n", str(requests), "-c", str(clients)]
        run = subprocess.run(
            [*words, f"http://127.0.0.1:{self.port}/"], check=True, capture_output=True, text=True
        )
        if failed := re.search(r"(Failed|Non-2xx).*: +[1-9].*", run.stdout):
            raise RuntimeError(failed.group())
        found = re.search(r"Requests per second: +([\d.]+)", run.stdout)
        slow = re.search(r"99% +(\d+)", run.stdout)
        assert found and slow
        return float(found.group(1)), float(slow.group(1))

    def mebibytes(self) -> float:
        """Return what the daemon processes have of the machine's memory."""
        httpd = (self.path / "var/run/simplesite-httpd.pid").read_text().strip()
        children = Path(f"/proc/{httpd}/task/{httpd}/children").read_text().split()
        found = 0
        for pid in children:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"(wsgi:"):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                found += int(re.findall(r"^Pss: +(\d+) kB", rollup, re.M)[0])
        return found / 1024

    def latency_beside_slow_clients(self) -> float:
        with ExitStack() as stack:
            for _ in range(40):
                slow = stack.enter_context(socket.create_connection(("127.0.0.1", self.port)))
                slow.sendall(HALF)
            time.sleep(1)
            began = time.perf_counter()
            fresh = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            with closing(fresh):
                fresh.request("GET", "/")
                fresh.getresponse().read()
            return time.perf_counter() - began


def measure(sides: dict[str, Side], given: argparse.Namespace) -> None:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(given.repeat + 1):
        for name, side in sides.items():
            rate = side.load(given.requests, given.clients)
            if turn:  # The first one warms up.
                found[name].append(rate)
    first = 0.0
    print(f"{'each process':>20}  pages/s  of the first  p99, ms  MiB in all  beside 40")
    for name, side in sides.items():
        rate, slow = map(statistics.median, zip(*found[name], strict=True))
        first = first or rate
        memory, waited = side.mebibytes(), side.latency_beside_slow_clients()
        line = f"{name:>20}  {rate:7.0f}  {rate / first:12.2f}  {slow:7.0f}  {memory:10.0f}"
        print(f"{line}  {waited:7.3f} s")


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--repeat", type=int, default=5, help="runs of each side")
    words.add_argument("--requests", type=int, default=3000, help="of one run")
    words.add_argument("--clients", type=int, default=16, help="at once")
    given = words.parse_args()
    require("ab", "apache2", "apxs", "gcc", root=True)
    with tempfile.TemporaryDirectory(prefix="threads-", dir="/tmp") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        cache = folder / "cache"
        shutil.copytree(filled_cache() / "dist", cache / "dist")
        share_cache(folder, cache)
        os.environ["BUILDOUT_HOME"] = name
        sides = {}
        for number, (side, more) in enumerate(SIDES.items()):
            sides[side] = Side(folder / str(number), more)
            stack.callback(sides[side].run, "bin/simplesite-httpd", "stop")
        measure(sides, given)


if __name__ == "__main__":
    main()
