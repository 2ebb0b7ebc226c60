#!/usr/bin/env python3
"""Run the fast tests on each Python from 3.10 that this machine has.

    python3 benchmarks/interpreters.py [--python COMMAND ...] [PYTEST-ARGUMENT ...]

They are looked for on the PATH, and among those of pyenv.  Each works in a copy of the
checkout, with this checkout's cache; what that lacks for one is downloaded.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fresh_checkout import ROOT, copy_checkout, share_cache

SERIES = range(10, 16)


def interpreters() -> Iterator[str]:
    """Yield the commands that start one of each series, where there is one."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    for minor in SERIES:
        candidates = [f"python3.{minor}", *map(str, pyenv.glob(f"3.{minor}.*/bin/python3"))]
        for command in candidates:
            if _runs(command):
                yield command
                break


def _runs(command: str) -> bool:
    try:
        return subprocess.run([command, "-c", ""], capture_output=True).returncode == 0
    except OSError:
        return False


def run_tests(command: str, words: list[str], folder: Path) -> bool:
    """Run the fast tests on an interpreter; tell whether all have passed."""
    checkout = folder / Path(command).name / str(time.time_ns())
    checkout.mkdir(parents=True)
    copy_checkout(checkout)
    version = subprocess.run([command, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{version}:", flush=True)
    began = time.monotonic()
    status, last = run_and_echo(
        [command, "bootstrap.py", "test", "-m", "not system", "-q", *words],
        cwd=checkout,
        env={**os.environ, "BUILDOUT_HOME": str(folder)},
    )
    print(f"{version}: {last.strip('= ')}; {time.monotonic() - began:.0f} s in all", flush=True)
    return status == 0


def run_and_echo(command: list[str], *, cwd: Path, env: dict[str, str]) -> tuple[int, str]:
    """Run a command, and pass on each line as it comes; return its exit status and last line."""
    last = ""
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"  {line}", end="", flush=True)
            last = line.strip() or last
    return process.returncode, last


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", action="append", default=[], help="default: all there are")
    options, words = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="interpreters-") as name:
        share_cache(Path(name), ROOT / "cache", eggs=Path(name, "eggs"))
        commands = options.python or list(interpreters())
        passed = [run_tests(command, words, Path(name)) for command in commands]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
