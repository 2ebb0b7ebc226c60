"""Sandboxes of other interpreters, seen to hold what they held when they were made.

Their files have no wheel beside them to be compared with, so a digest of each is
kept where the signatures of eggs are; bytecode is compiled anew where it changed.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from pylonyard.errors import CommandError
from pylonyard.integrity import RefusedError, Verified, set_aside
from pylonyard.running import run
from pylonyard.sandboxes import site_packages
from pylonyard.writing import files_below, write


def note(cache: Path, home: Path) -> None:
    """Remember what ``home`` holds now, its bytecode made of its sources."""
    _compile_anew(home)
    content = json.dumps(_held(home)).encode()
    write(_list_of(cache, home), content, 0o600)
    Verified(cache).note(home, hashlib.sha256(content).hexdigest())


def check(cache: Path, home: Path) -> bool:
    """Tell whether ``home`` holds what was noted; False if nothing was.

    :raises RefusedError: naming a file that differs; the sandbox has been set aside
    """
    listed = _list_of(cache, home)
    try:
        content = listed.read_bytes()
    except OSError:
        return False
    verified, digest = Verified(cache), hashlib.sha256(content).hexdigest()
    if verified.unchanged(home, {digest}):
        return True
    # The digest of the list stands where nobody else can have written.
    if not verified.has(home, digest):
        return False
    expected, got = json.loads(content), _held(home)
    for name in sorted({*expected, *got}):
        if expected.get(name) != got.get(name):
            raise RefusedError(
                home / name,
                expected.get(name, "no such file"),
                got.get(name, "none"),
                set_aside(home, cache),
            )
    note(cache, home)
    return True


def _list_of(cache: Path, home: Path) -> Path:
    return cache / "verified" / f"{os.geteuid()}-{home.name}.json"


def _held(home: Path) -> dict[str, str]:
    """Return what each file but bytecode is: path -> SHA-256, or the target of a link."""
    held = {}
    for path in files_below(home):
        if path.suffix in (".pyc", ".pyo") and _has_source(path):
            continue
        name = path.relative_to(home).as_posix()
        if path.is_symlink():
            held[name] = f"a link to {os.readlink(path)}"
        else:
            held[name] = f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return held


def _has_source(path: Path) -> bool:
    if path.parent.name == "__pycache__":
        return (path.parent.parent / f"{path.name.partition('.')[0]}.py").is_file()
    return path.with_suffix(".py").is_file()


def _compile_anew(home: Path) -> None:
    for path in list(files_below(home)):
        if path.suffix in (".pyc", ".pyo") and _has_source(path):
            path.unlink()
    # Not all that is installed is valid in every Python; what is, gets compiled.
    with contextlib.suppress(CommandError):
        run(
            [home / "bin" / "python", "-E", "-S", "-m", "compileall", "-q", site_packages(home)],
            "compileall",
        )
