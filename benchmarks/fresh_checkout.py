"""Copies of this repository as a fresh checkout has it; for benchmarks and system tests."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

UNSHARE = ["unshare", "--pid", "--fork", "--mount", "--mount-proc", "--kill-child"]
"""The words before a command that kills: in its pid namespace no other process can be hit."""


def copy_checkout(target: Path) -> None:
    """Copy what git has, or would have, of this repository; or what its distribution has."""
    for name in filter(None, _names()):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def _names() -> list[str]:
    if not (ROOT / ".git").exists():
        return (ROOT / "recipes" / "pylonyard.egg-info" / "SOURCES.txt").read_text().splitlines()
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    return subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split("\0")


def require(*programs: str, root: bool = False) -> None:
    """End this program, with one line, where it is not root or a program is missing."""
    name = Path(sys.argv[0]).name
    if root and os.geteuid():
        sys.exit(f"{name}: expected to be run as root, got account {os.geteuid()}")
    for program in programs:
        if not shutil.which(program):
            sys.exit(f"{name}: expected the program {program}, got none; install it")


def filled_cache() -> Path:
    """Return this checkout's cache, once ``dist`` has what a fresh checkout installs.

    What it lacks is downloaded by a copy of the checkout, so that nothing else is made here.
    """
    cache = ROOT / "cache"
    with tempfile.TemporaryDirectory(prefix="filling-") as name:
        share_cache(Path(name), cache, eggs=Path(name, "eggs"))
        copy_checkout(Path(name, "checkout"))
        finished = subprocess.run(
            [sys.executable, "bootstrap.py", "ini:setup=false"],
            cwd=Path(name, "checkout"),
            env={**os.environ, "BUILDOUT_HOME": name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if finished.returncode:
        last = finished.stdout.strip().splitlines()[-1:]
        sys.exit(f"{Path(sys.argv[0]).name}: cannot fill {cache / 'dist'}: {' '.join(last)}")
    return cache


def share_cache(home: Path, cache: Path, eggs: Path | None = None) -> None:
    """Have the runs whose BUILDOUT_HOME is ``home`` use ``cache``."""
    shared = f"download-cache = {cache}\neggs-directory = {eggs or cache / 'eggs'}\n"
    (home / "default.cfg").write_text(f"[buildout]\n{shared}")
