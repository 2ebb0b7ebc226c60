"""Interpreters that a test needs; those that the account which serves a site can read."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pylonyard.packages.interpreters import find, interpreter


def need_interpreter(command: str) -> None:
    """Skip the test if this machine has no interpreter ``command``."""
    try:
        find(command)
    except ValueError:
        pytest.skip(f"lacks {command}")


def other_python(commands: tuple[str, ...]) -> str:
    """Return the first command of an interpreter that is not the one that runs us."""
    for command in commands:
        try:
            found = find(command)
        except ValueError:
            continue
        if found.executable != interpreter():
            return command
    pytest.skip(f"needs {' or '.join(commands)}")


def readable_by_all(command: str, folder: Path) -> Path:
    """Return the interpreter ``command``, or a copy of it below ``folder``."""
    try:
        return reachable_by_all(find(command).executable, folder)
    except ValueError:
        pytest.skip(f"lacks {command}")


def reachable_by_all(real: Path, folder: Path) -> Path:
    """Return an interpreter, or a copy of it below ``folder`` that nobody's account can read.

    One below /root is out of the reach of other accounts.
    """
    prefix = real.parent.parent
    as_nobody = {} if os.geteuid() else {"user": "nobody", "group": "nogroup", "extra_groups": []}
    if subprocess.run(["ls", prefix / "lib"], capture_output=True, **as_nobody).returncode == 0:
        return real
    if not shutil.which("patchelf"):
        pytest.skip("lacks patchelf")
    copy = folder / prefix.name
    if not copy.exists():
        skipped = shutil.ignore_patterns("test", "tests", "__pycache__", "*.pyc", "*.a")
        shutil.copytree(prefix, copy, symlinks=True, ignore=skipped)
        for name in ("**/_sysconfigdata*.py", "**/config*/Makefile"):
            for path in copy.glob(f"lib/{name}"):
                path.write_text(path.read_text().replace(str(prefix), str(copy)))
        # It looks for its shared library where it was built.
        own = ["patchelf", "--set-rpath", copy / "lib", copy / "bin" / real.name]
        subprocess.run(own, check=True)
    return copy / "bin" / real.name
