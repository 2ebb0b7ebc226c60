"""Isolated environments, each immutable and named by what it holds.

A sandbox is a virtual environment (PEP 405) whose ``site-packages`` holds one
``.pth`` file: the egg directories, in order.  Nothing of the machine's own
``site-packages`` is visible in it.  Standard library only: ``bootstrap.py``
imports this before anything is installed.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pylonyard import drafts
from pylonyard.wheels import publish

PTH = "pylonyard.pth"


def interpreter() -> Path:
    """Return the real interpreter that runs us, outside any virtual environment."""
    return Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))


def site_packages(home: Path) -> Path:
    """Return the folder that a program other than ``home``'s own Python adds.

    :raises ValueError: if ``home`` is no sandbox
    """
    folders = list(home.glob("lib/python*/site-packages"))
    if len(folders) != 1:
        raise ValueError(f"home: expected a sandbox, got {str(home)!r}")
    return folders[0]


def make(store: Path, locations: Sequence[Path]) -> Path:
    """Return the sandbox of this interpreter that sees exactly ``locations``.

    :param store: where sandboxes are kept, usually ``cache/sandboxes``
    :param locations: egg directories, in the order of ``sys.path``
    """
    lines = list(_path_lines(locations))
    home = store / _name(lines)
    if home.is_dir():
        return home
    with drafts.draft(store) as folder:
        draft = folder / home.name
        _lay_out(draft, lines)
        draft.chmod(0o755)
        publish(draft, home)
    return home


def _path_lines(locations: Iterable[Path]) -> Iterable[str]:
    """Yield the lines of a ``.pth`` file, those of nested ``.pth`` files after."""
    for location in locations:
        yield str(location)
        # Python reads .pth files in site-packages only; an editable project
        # speaks through one, so its lines are taken along.
        if not location.name.endswith(".egg"):
            for nested in sorted(location.glob("*.pth")):
                yield from nested.read_text(encoding="utf-8").splitlines()


def _name(lines: list[str]) -> str:
    held = [str(interpreter()), sys.version_info[:2], lines]
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()[:20]


def _lay_out(home: Path, lines: list[str]) -> None:
    base = interpreter()
    python = "python{}.{}".format(*sys.version_info)
    packages = home / "lib" / python / "site-packages"
    packages.mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(base)
    for name in ("python3", python):
        (home / "bin" / name).symlink_to("python")
    (packages / PTH).write_text("\n".join([*lines, ""]), encoding="utf-8")
    (home / "pyvenv.cfg").write_text(
        f"home = {base.parent}\n"
        "include-system-site-packages = false\n"
        "version = {}.{}\n".format(*sys.version_info),
        encoding="utf-8",
    )
