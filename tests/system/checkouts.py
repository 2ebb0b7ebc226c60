"""Fresh checkouts of this repository, run as their users run them."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fresh_checkout import ROOT, copy_checkout

__all__ = ["CACHE", "ROOT", "WORKER", "Checkout", "copy_checkout", "fetch"]

WORKER = os.environ.get("PYTEST_XDIST_WORKER")
CACHE = ROOT / ".pytest_cache" / f"cache-of-{WORKER}" if WORKER else ROOT / "cache"
"""The cache that the checkouts of tests share; each worker has its own."""


@dataclass
class Checkout:
    """A fresh checkout of this repository, in a folder of its own."""

    path: Path
    environ: Mapping[str, str]
    python: str = sys.executable
    controls: set[str] = field(default_factory=set)

    def run(self, *command: str | Path, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command in the checkout; what it printed is in ``stdout``, all of it."""
        finished = subprocess.run(
            [str(word) for word in command],
            cwd=self.path,
            env=dict(self.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
        )
        if check and finished.returncode:
            pytest.fail(f"{command} exited {finished.returncode}:\n{finished.stdout}")
        return finished

    def bootstrap(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.run(self.python, "bootstrap.py", *words, check=check)

    def buildout(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.run("bin/buildout", *words, check=check)

    def control(self, script: str, *words: str, check: bool = True) -> str:
        """Run ``bin/<script>``; whatever it starts is stopped when the test ends."""
        self.controls.add(script)
        return self.run(f"bin/{script}", *words, check=check).stdout

    def stop_all(self) -> None:
        for script in self.controls:
            if (self.path / "bin" / script).exists():
                self.run(f"bin/{script}", "stop", check=False)


def fetch(url: str, **headers: str) -> tuple[int, str]:
    """Return the status and the text that ``url`` answers, errors included."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
