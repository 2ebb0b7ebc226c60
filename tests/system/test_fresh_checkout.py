"""The README's first command, and what stays as it was when nothing has changed."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from checkouts import fetch

pytestmark = pytest.mark.system


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return what tells one state of every file below ``folder`` from another."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent, name)
            status = path.lstat()
            content = b""
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
            link = os.readlink(path) if path.is_symlink() else ""
            is_folder = path.is_dir() and not path.is_symlink()
            found[str(path.relative_to(folder))] = (
                status.st_ino,
                status.st_mode,
                0 if is_folder else status.st_mtime_ns,
                hashlib.sha256(content).hexdigest(),
                link,
            )
    return found


def test_the_first_command_ends_in_a_site_that_serves(checkout, free_port):
    site, port = checkout(), free_port()
    assert site.bootstrap("init:start-timeout=none", check=False).returncode == 1
    early = (site.path / "bin/pylonyard").read_text()
    said = site.run("bin/pylonyard", "doctor", check=False).stdout
    assert "there is none: bin/buildout failed: [init] start-timeout: expected" in said
    assert said.splitlines()[-2].endswith("-> correct that, then: bin/buildout")

    output = site.bootstrap(f"site:port={port}").stdout

    assert (site.path / "bin/pylonyard").read_text() == early
    assert "last-run" not in site.run("bin/pylonyard", "doctor", check=False).stdout
    assert output.splitlines()[-2:] == [
        "pylonyard: Release 1 is current.",
        f"pylonyard:   bin/simplesite start   serves it at http://127.0.0.1:{port}/",
    ]
    *warned, started = site.control("simplesite", "start").splitlines()
    assert len(warned) == (os.geteuid() == 0), warned
    assert started == (f"simplesite: started, http://127.0.0.1:{port}/ answers")
    status, page = fetch(f"http://127.0.0.1:{port}/")
    assert status == 200
    assert "<title>SimpleSite</title>" in page


def test_the_egg_s_own_installer_and_setup_app_have_really_run(checkout, free_port):
    site = checkout()
    site.bootstrap(f"site:port={free_port()}")

    ini = (site.path / "current/simplesite/production.ini").read_text()
    assert "# What the site is called, at the top of every page" in ini
    assert "${app_instance_secret}" not in ini
    assert (site.path / "var/data/simplesite/simplesite.db").stat().st_size > 0
    (done,) = (site.path / "var/setup").iterdir()
    assert done.name.startswith("simplesite-")


def test_a_run_with_nothing_to_do_changes_no_file_and_makes_no_release(checkout, free_port):
    site, port = checkout(), free_port()
    site.bootstrap(f"site:port={port}")
    before = state(site.path)

    output = site.buildout(f"site:port={port}").stdout

    after = state(site.path)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed - {".installed.cfg", ".pylonyard.lock"} == set()
    assert "pylonyard: Release 1 is current; nothing has changed." in output
    assert [p.name for p in (site.path / "releases").iterdir()] == ["1"]


def test_an_option_on_the_command_line_makes_a_release_that_a_rollback_undoes(checkout, free_port):
    site, first, second = checkout(), free_port(), free_port()
    site.bootstrap(f"site:port={first}")
    site.buildout(f"site:port={second}")

    ini = site.path / "current/simplesite/production.ini"
    assert f"port = {second}" in ini.read_text()
    assert os.readlink(site.path / "current") == "releases/2"

    site.run("bin/pylonyard", "rollback")

    assert f"port = {first}" in ini.read_text()


def test_every_file_of_a_release_stands_in_its_manifest(checkout, free_port):
    site = checkout()
    site.bootstrap(f"site:port={free_port()}")
    release = site.path / "releases" / "1"
    manifest = json.loads((release / "manifest.json").read_text())

    there = {
        str(path.relative_to(release))
        for path in release.rglob("*")
        if path.is_file() or path.is_symlink()
    }
    assert there - {"manifest.json"} == set(manifest["files"])
    for name, entry in manifest["files"].items():
        if "link" not in entry:
            content = (release / name).read_bytes()
            assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["files"]["simplesite/production.ini"]["passed"] == ["PasteDeploy"]
    # In development what is not installed checks nothing.
    there = ["sh", *filter(shutil.which, ["checkbashisms"])]
    assert manifest["files"]["etc/init.d/simplesite"]["passed"] == there
    checked = manifest["files"]["etc/apache2/sites-available/simplesite.conf"]["passed"]
    assert ("apache2" in checked) == os.path.exists("/usr/sbin/apache2")


@pytest.mark.parametrize("name", ["with a space", "mit-Ümläut"])
def test_a_checkout_may_stand_in_an_odd_place(checkout, free_port, name):
    # In the locale C, whose Python reads files as ASCII.
    site, port = checkout(name, LC_ALL="C"), free_port()

    site.bootstrap(f"site:port={port}")
    site.control("simplesite", "start")

    assert fetch(f"http://127.0.0.1:{port}/")[0] == 200


def test_an_odd_umask_changes_no_mode(checkout, free_port):
    site, port = checkout(), free_port()

    site.run("sh", "-c", f"umask 077 && {site.python} bootstrap.py site:port={port}")

    release = site.path / "releases" / "1"
    assert (release.stat().st_mode & 0o777, (release / "bin").stat().st_mode & 0o777) == (
        0o755,
        0o755,
    )
    assert (release / "etc/cron.d/simplesite").stat().st_mode & 0o777 == 0o644
    assert (release / "simplesite/production.ini").stat().st_mode & 0o777 == 0o600
    secrets = site.path / "var/secrets/simplesite"
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}


def test_the_environment_sees_none_of_the_machine_s_site_packages(checkout, free_port):
    site = checkout()
    site.bootstrap(f"site:port={free_port()}")

    path = site.run(
        "current/simplesite/bin/python", "-c", "import sys; print('\\n'.join(sys.path))"
    ).stdout.splitlines()

    home = os.readlink(site.path / "current/simplesite/env")
    foreign = [p for p in path if "-packages" in p and not p.startswith(home)]
    assert foreign == []


def test_a_second_run_at_the_same_time_names_the_first(checkout, free_port):
    site = checkout()
    site.bootstrap(f"site:port={free_port()}")
    script = (
        "import sys; sys.path.insert(0, 'recipes'); from pathlib import Path;"
        "from pylonyard.system.locks import Locks; Locks().hold_sandbox(Path.cwd());"
        "print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [site.python, "-c", script],
        cwd=site.path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        refused = site.buildout(check=False)
    finally:
        holder.communicate(b"")

    assert refused.returncode == 1
    output = f"Error: another run is at work in {site.path} (process {holder.pid}, since "
    assert output in refused.stdout
