"""A disk that is full, or a limit on files, fails a run in one line and breaks nothing."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import CACHE
from namespaces import run_in_namespace

pytestmark = pytest.mark.system

# Run in a mount namespace of its own: sys.argv is the folder, the command, the sizes.
FILLED = """
import json, os, subprocess, sys
folder, command, sizes, cold = json.loads(sys.argv[1])

def run(port):
    return subprocess.run(
        [*command, f"site:port={port}"], cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

def limit(size):
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)

def used():
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize

def current():
    try:
        return os.readlink(folder + "/current")
    except OSError:
        return ""

for number, size in enumerate(sizes):
    before = current()
    if cold:
        subprocess.run(["sh", "-c", "rm -rf cache/eggs cache/sandboxes"], cwd=folder, check=True)
    limit(used() + size)
    failed = run(9000 + number)
    lines = [line for line in failed.stdout.splitlines() if line.strip()]
    after = current()
    limit("1g")
    mended = run(9000 + number)
    print("RESULT", json.dumps({
        "size": size, "status": failed.returncode, "lines": lines, "before": before,
        "after": after, "mended": mended.returncode, "output": mended.stdout[-1500:],
        "ini": open(folder + "/current/simplesite/production.ini").read().count(
            f"port = {9000 + number}")}))
"""


def filled(site, tmp_path, sizes, command, *, cold=False):
    """Run with so many bytes to spare, then with plenty; return what came of it."""
    program = tmp_path / "filled.py"
    program.write_text(FILLED)
    shutil.move(site.path, tmp_path / "copy")
    site.path.mkdir()
    words = json.dumps([str(site.path), command, sizes, cold])
    script = f"""
mount -t tmpfs -o size=1g,mode=755 none {site.path}
cp -a {tmp_path}/copy/. {site.path}
cd {site.path}
{sys.executable} bootstrap.py --offline site:port=8999 > /dev/null
{sys.executable} {program} '{words}'
"""
    lines = run_in_namespace(script, tmp_path, site.environ)
    return [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("RESULT ")]


def check(results):
    assert results
    print(*[(r["size"], r["status"], r["lines"][-1:]) for r in results], sep="\n")
    for result in results:
        if result["status"]:
            assert result["after"] == result["before"], result
            assert "Traceback (most recent call last):" not in result["lines"], result
            errors = [x for x in result["lines"] if x.startswith(("Error: ", "bootstrap: cannot"))]
            assert len(errors) == 1, result
        assert result["mended"] == 0, result
        assert result["ini"] == 1, result


def test_run_on_a_full_disk_changes_nothing_that_is_live(checkout, tmp_path):
    sizes = [0, 16384, 65536, 131072]

    results = filled(checkout(), tmp_path, sizes, ["bin/buildout", "-o"])

    check(results)
    assert results[0]["status"] == 1


def test_cold_install_on_a_full_disk_leaves_nothing_half_made(checkout, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    site = checkout(BUILDOUT_HOME=str(home))
    (site.path / "cache").mkdir()
    (site.path / "cache" / "dist").symlink_to(CACHE / "dist")
    command = [sys.executable, "bootstrap.py", "--offline"]

    results = filled(site, tmp_path, [0, 2 << 20, 12 << 20], command, cold=True)

    check(results)
    assert [result["status"] for result in results] == [1, 1, 1]


@pytest.mark.parametrize("size", [0, 600, 4000])
def test_run_with_a_limit_on_files_changes_nothing_that_is_live(checkout, free_port, size):
    site, port = checkout(), free_port()
    site.bootstrap(f"site:port={port}")
    ini = (site.path / "current/simplesite/production.ini").read_text()

    refused = subprocess.run(
        ["bin/buildout", f"site:port={free_port()}"],
        cwd=site.path,
        env=dict(site.environ),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    if refused.returncode:
        assert os.readlink(site.path / "current") == "releases/1"
        assert (site.path / "current/simplesite/production.ini").read_text() == ini
        assert "Traceback" not in refused.stdout
        lines = [line for line in refused.stdout.splitlines() if "File too large" in line]
        assert len(lines) == 1, refused.stdout
        assert lines[0].startswith("Error: "), refused.stdout
    site.bootstrap(f"site:port={port}")
    assert f"port = {port}" in (site.path / "current/simplesite/production.ini").read_text()
    assert not list(Path(site.path, "releases").glob(".draft-*"))
