"""Installs that are killed at random moments leave nothing that a later run adopts."""

import subprocess
import sys

import pytest
from checkouts import CACHE, ROOT
from namespaces import UNSHARE, require_namespace

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("shared_cache")]


@pytest.fixture(autouse=True)
def needs_a_namespace():
    require_namespace(UNSHARE)


def test_killed_installs_are_repaired_by_the_next_run(tmp_path):
    program = ROOT / "benchmarks" / "kill_installs.py"
    kinds = ["cold", "offline", "source"]
    words = ["--kills", "1", "--row", "1", "--kinds", *kinds]
    command = [sys.executable, program, *words, "--folder", tmp_path]

    finished = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
    )

    output = "".join(f"{kind}: 1 of 1 kills were repaired by the next run\n" for kind in kinds)
    assert (finished.stdout, finished.returncode) == (output, 0)


def test_killed_redeployments_are_not_noticed(tmp_path):
    program = ROOT / "benchmarks" / "kill_redeploys.py"
    words = ["--kills", "2", "--signals", "KILL", "INT"]
    command = [sys.executable, program, *words, "--folder", tmp_path]

    finished = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200
    )

    print(finished.stdout)
    output = "2 of 2 redeployments cut short were repaired by the next run\n0 of "
    assert finished.stdout.startswith(output), finished.stdout
    assert finished.returncode == 0


def test_two_checkouts_install_into_one_cache_at_the_same_time(checkout, free_port, tmp_path):
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    (home / "default.cfg").write_text(
        f"[buildout]\ndownload-cache = {cache}\neggs-directory = {cache}/eggs\n"
    )
    (cache / "dist").mkdir(parents=True)
    for path in (CACHE / "dist").glob("*.whl"):
        (cache / "dist" / path.name).symlink_to(path)
    pair = [checkout(name, BUILDOUT_HOME=str(home)) for name in "ab"]

    runs = [start(site, free_port()) for site in pair]

    lines = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], lines
    assert damaged(cache) == []
    for site in pair:
        assert (site.path / "current" / "manifest.json").is_file()


def start(site, port):
    return subprocess.Popen(
        [site.python, "bootstrap.py", "--offline", f"site:port={port}"],
        cwd=site.path,
        env=dict(site.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def damaged(cache):
    """Return what the benchmark finds wrong with the eggs, and what is half-made."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import kill_installs;"
        "from pathlib import Path; cache = Path(sys.argv[2]);"
        "print(*kill_installs.damaged_eggs(cache), *cache.glob('*/.draft-*'),"
        " *cache.glob('eggs/v5/*/.draft-*'), sep='\\n')"
    )
    command = [sys.executable, "-c", code, ROOT / "benchmarks", cache]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
