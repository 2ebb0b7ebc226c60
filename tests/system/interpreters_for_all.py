"""Interpreters that every account of the machine can read."""

import shutil
import subprocess
from pathlib import Path

import pytest
from pylonyard.interpreters import find


def readable_by_all(command: str, folder: Path) -> Path:
    """Return the interpreter ``command``, or a copy of it below ``folder``.

    One below /root is out of the reach of the account that serves a site.
    """
    try:
        real = find(command).executable
    except ValueError:
        pytest.skip(f"lacks {command}")
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "ls"]
    if subprocess.run([*as_nobody, real], capture_output=True).returncode == 0:
        return real
    if not shutil.which("patchelf"):
        pytest.skip("lacks patchelf")
    prefix = real.parent.parent
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
