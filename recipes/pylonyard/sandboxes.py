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
        lay_out(draft, interpreter(), sys.version_info[:2])
        (site_packages(draft) / PTH).write_text("\n".join([*lines, ""]), encoding="utf-8")
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


def lay_out(home: Path, base: Path, version: Sequence[int]) -> None:
    """Make a virtual environment as of PEP 405, with nothing installed.

    :param base: the interpreter, outside any virtual environment
    :param version: of that interpreter; what is given of it is written down
    """
    python = "python{}.{}".format(*version)
    (home / "lib" / python / "site-packages").mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(base)
    for name in ("python3", python):
        (home / "bin" / name).symlink_to("python")
    (home / "pyvenv.cfg").write_text(
        f"home = {base.parent}\n"
        "include-system-site-packages = false\n"
        f"version = {'.'.join(map(str, version))}\n",
        encoding="utf-8",
    )
