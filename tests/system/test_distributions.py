"""The distributions that can be uploaded, made and checked by one command."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from checkouts import ROOT, copy_checkout

pytestmark = pytest.mark.system


def test_the_source_distribution_has_what_the_repository_has_and_no_more(distributions, tmp_path):
    (archive,) = distributions.glob("*.tar.gz")
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path], check=True)
    (unpacked,) = tmp_path.iterdir()
    copy_checkout(tmp_path / "wanted")

    names = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
    wanted = {p.relative_to(tmp_path / "wanted") for p in (tmp_path / "wanted").rglob("*")}

    wanted = {name for name in wanted if (ROOT / name).is_file()}
    assert wanted - names == set()
    added = {name for name in names - wanted if "pylonyard.egg-info" not in name.parts}
    assert added == {Path("PKG-INFO"), Path("setup.cfg")}


def test_the_suite_runs_in_the_unpacked_source_distribution(distributions, tmp_path, clean_environ):
    (archive,) = distributions.glob("*.tar.gz")
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path], check=True)
    (unpacked,) = tmp_path.iterdir()
    files = [
        "tests/test_documentation.py",
        "tests/test_rooms.py",
        "tests/system/test_default_site.py",
    ]

    command = [sys.executable, "bootstrap.py", "test", "-q", *files]
    finished = subprocess.run(
        command, cwd=unpacked, env=clean_environ, capture_output=True, text=True
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_the_wheel_has_profiles_documentation_and_changes(distributions):
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        (output,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = packed.read(output).decode()

    for folder, pattern in ("profiles", "*.cfg"), ("profiles", "*.toml"), ("docs", "**/*.rst"):
        files = {Path(path).relative_to(ROOT) for path in (ROOT / folder).glob(pattern)}
        assert {f"pylonyard/{file}" for file in files} - names == set()
    assert {"pylonyard/CHANGES", "pylonyard/py.typed"} <= names
    assert "](docs/" not in metadata
