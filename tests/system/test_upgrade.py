"""A site that the code from before the rooms deployed, and the code of today pulled under it."""

import os
import re
import shutil
import tarfile
import time
from pathlib import Path

import machines
import pytest
from checkouts import ROOT, Checkout, copy_checkout, fetch
from load import expect_no_failures, get
from machines import Machine
from ports import free_port

pytestmark = machines.NEEDED

BEFORE = Path(__file__).with_name("before_the_rooms.tar.xz")
"""The folder ``recipes``, ``bootstrap.py`` and ``setup.py`` as they were."""

COMMANDS = {
    "bin/pylonyard releases": 0,
    "bin/pylonyard --version": 0,
    "bin/simplesite status": 0,
    "bin/simplesite ensure": 0,
    "bin/simplesite-httpd status": 3,  # it was not started
    "bin/simplesite-cron --help": 0,
    "{root}/etc/init.d/simplesite status": 0,
}
"""What the old release put into ``bin`` and ``/etc``, and the exit status of each."""


def pull(folder: Path, recipes: Path) -> None:
    """Have a checkout hold other code, as git does it: what git does not know of stays."""
    for path in [*(folder / "recipes" / "pylonyard").rglob("*"), folder / "setup.py"]:
        if path.is_file() and path.suffix != ".pyc":
            path.unlink()
    shutil.copytree(
        recipes / "recipes" / "pylonyard",
        folder / "recipes" / "pylonyard",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("bootstrap.py", "setup.py"):
        shutil.copyfile(recipes / name, folder / name)


def without_newer_options(profile: str) -> str:
    """Return ``profiles/base.cfg`` as the old code reads it, whose [site] gave both ends less."""
    profile = profile.replace("${site:host}:", "127.0.0.1:")
    newer = r"(?m)^\S+ = \$\{site:(host|prefix|trusted-proxies|timeout|max-body|overlap)\}\n"
    return re.sub(newer, "", profile)


@pytest.fixture
def upgraded(tmp_path, clean_environ):
    """Give a machine on which the old code's release 1 is active and serves, and the new code."""
    old, path = tmp_path / "old", tmp_path / "box"
    with tarfile.open(BEFORE) as archive:
        # Python 3.11.2 has no filters, and newer ones warn of what names none.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(old)
    path.mkdir()
    copy_checkout(path)
    pull(path, old)
    profile = path / "profiles" / "base.cfg"
    profile.write_text(without_newer_options(profile.read_text()))
    checkout, port = Checkout(path, clean_environ), free_port()
    words = ["site:environment=development", f"site:port={free_port()}", "cron:target=crontab"]
    words += ["vhost:listen=127.0.0.1", f"vhost:listen-port={port}"]
    words += [f"vhost:httpd-port={free_port()}"]
    checkout.bootstrap("-c", "staging.cfg", *words)
    machine = Machine(tmp_path / "root", checkout, free_port(), port)
    try:
        before = machine.snapshot()
        machine.sh("bin/simplesite start")
        machine.httpd("start")
        machine.activate()
        pull(path, ROOT)
        shutil.copyfile(ROOT / "profiles" / "base.cfg", profile)
        yield machine, words, before
    finally:
        machine.run("bin/simplesite", "stop")
        machine.end()


def test_new_code_takes_over_what_the_old_code_made(upgraded):
    machine, words, before = upgraded
    address = f"http://127.0.0.1:{machine.site_port}/"
    name = {"Host": "staging.example.org"}
    assert fetch(address, **name)[0] == 200
    scripts = {p.name for p in (machine.checkout.path / "bin").iterdir()}
    assert scripts >= {"buildout", "pylonyard", "simplesite", "simplesite-cron", "simplesite-httpd"}

    for command, status in COMMANDS.items():
        done = machine.run(*command.format(root=machine.root).split())
        assert (command, done.returncode) == (command, status), done.stdout

    # The supervisor still runs the old code, which names the file that starts a server.
    servers = machine.run("pgrep", "-f", "server/gentle.py").stdout.split()
    assert machine.run("kill", "-9", *servers).returncode == 0
    deadline = time.monotonic() + 60
    while fetch(address, **name)[0] != 200:
        assert time.monotonic() < deadline, "the old supervisor did not start the server again"

    built = machine.run("bin/buildout", *words, **machine.checkout.environ)
    assert built.returncode == 0, built.stdout
    assert os.readlink(machine.checkout.path / "current") == "releases/2"
    assert "pylonyard.commands.main" in (machine.checkout.path / "bin/pylonyard").read_text()

    with expect_no_failures(address, [get("/", **name)] * 2, "a restart by the new code"):
        machine.sh("bin/simplesite restart")
        machine.activate()
    rolled = machine.pylonyard("rollback")
    assert rolled.returncode == 0, rolled.stdout
    assert os.readlink(machine.checkout.path / "current") == "releases/1"
    assert machine.sh("bin/simplesite status").startswith("simplesite: running")
    assert fetch(address, **name)[0] == 200

    machine.deactivate()
    assert machine.snapshot() == before
