"""Run scenarios that kill in a pid namespace, where no other process can be hit."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from fresh_checkout import UNSHARE

__all__ = ["UNSHARE"]


def require_namespace(words: list[str]) -> None:
    """Skip the test if this machine does not let us make such a namespace."""
    tried = subprocess.run([*words, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"lacks unshare: {tried.stderr.strip()}")


def entering(inside: str, *namespaces: str) -> list[str]:
    """Return the words that run a command in namespaces of the process ``inside``.

    With its root: in a chroot, its mount namespace alone has the root of the machine
    around it, and what is done there would be done to that machine.
    """
    return ["nsenter", "--target", inside, "--root", *namespaces]


def run_in_namespace(
    script: str, folder: Path, environ: Mapping[str, str], timeout: float = 600
) -> list[str]:
    """Run a shell script in a pid and mount namespace of its own; return its lines."""
    require_namespace(UNSHARE)
    finished = subprocess.run(
        [*UNSHARE, "sh", "-eu", "-c", script],
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout.splitlines()
