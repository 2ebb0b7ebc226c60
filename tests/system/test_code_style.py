"""The linters find nothing in our code."""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from checkouts import ROOT

pytestmark = pytest.mark.system


def ruff() -> str:
    """Return the program of the wheel, which an egg keeps beside its metadata."""
    (program,) = Path(str(distribution("ruff").locate_file(""))).glob("*.dist-info/scripts/ruff")
    return str(program)


@pytest.mark.parametrize("folder", [".", "src/simplesite"])
def test_ruff_finds_nothing(folder):
    verdict = subprocess.run([ruff(), "check", folder], cwd=ROOT, capture_output=True, text=True)

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.parametrize("folder", [".", "src/simplesite"])
def test_lines_are_formatted_as_ruff_formats_them(folder):
    verdict = subprocess.run(
        [ruff(), "format", "--check", folder], cwd=ROOT, capture_output=True, text=True
    )

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


def test_mypy_finds_nothing():
    command = [sys.executable, "-m", "mypy"]
    verdict = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
