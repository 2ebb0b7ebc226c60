"""A bundle is unpacked where there is no network, and ends in the same release."""

import json
import os
import re
import shlex
import subprocess
import tarfile
import time

import pytest
from checkouts import CACHE, Checkout
from interpreters_for_all import need_interpreter
from namespaces import require_namespace
from pylonyard.packages.wheels import sha256

pytestmark = pytest.mark.system

ALONE = ["unshare", "--net", "sh", "-eu", "-c"]


def command_of(message):
    """Return the command that a line about missing files ends in."""
    (command,) = re.findall(r"there is a network with: (.*)", message)
    return shlex.split(command)


def bundled(site, file):
    """Make a bundle; fetch what it lacks first, as its message says."""
    output = site.run("bin/pylonyard", "bundle", file, check=False)
    if output.returncode:
        assert output.stdout.startswith(f"pylonyard: not in the cache {site.cache}/dist: mod_wsgi-")
        assert not file.exists()
        site.run(*command_of(output.stdout))
        site.run("bin/pylonyard", "bundle", file)
    return file


def tracked(site):
    git = ["git", "-c", "user.name=n", "-c", "user.email=e"]
    site.run(*git, "init", "--quiet")
    site.run(*git, "add", "--all")


def secrets(site):
    """Return the name of each secret by what it is."""
    kept = (site.path / "var" / "secrets").rglob("*")
    return {path.read_text().strip(): f"<{path.name}>" for path in kept if path.is_file()}


def released(site):
    """Return each released file by its path, with places and secrets by name."""
    release = (site.path / "current").resolve()
    names = {**secrets(site), str(site.cache): "<cache>", str(site.path): "<checkout>"}
    found = {}
    for path in sorted(release.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        text = os.readlink(path) if path.is_symlink() else path.read_text()
        for value in sorted(names, key=len, reverse=True):
            text = text.replace(value, names[value])
        # A sandbox is named by the paths that it sees.
        text = re.sub(r"<cache>/sandboxes/[0-9a-f]{20}", "<sandbox>", text)
        mode = 0 if path.is_symlink() else path.stat().st_mode
        name = path.relative_to(release).as_posix()
        found[name] = (mode, described(text) if name == "manifest.json" else text)
    return found


def described(manifest):
    """Return what a manifest says but for the time, and the digests of what holds paths."""
    files = json.loads(manifest)["files"]
    return {
        name: {key: value for key, value in entry.items() if key not in ("sha256", "link")}
        for name, entry in files.items()
    }


@pytest.mark.parametrize("config", ["buildout.cfg", "legacy.cfg"])
def test_unpacked_without_network_it_ends_in_the_same_release(checkout, tmp_path, config):
    require_namespace(ALONE)
    if config == "legacy.cfg":
        need_interpreter("python2.7")
    site = checkout()
    site.cache = CACHE
    tracked(site)
    # Root's own account serves in development alone.
    words = ["-c", config, "site:environment=development"]
    site.bootstrap(*words)
    file = bundled(site, tmp_path / "site.tar.gz")

    elsewhere, home = tmp_path / "elsewhere", tmp_path / "empty"
    elsewhere.mkdir()
    home.mkdir()
    subprocess.run(["tar", "-xf", file], cwd=elsewhere, check=True)
    pyenv = site.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    environ = {"HOME": str(home), "PATH": site.environ["PATH"], "PYENV_ROOT": pyenv}
    other = Checkout(elsewhere / "simplesite", environ)
    other.cache = other.path / "cache"
    offline = f"{site.python} bootstrap.py --offline {shlex.join(words)}"
    other.run(*ALONE, f"ip link set lo up; {offline}")

    assert released(other) == released(site)
    with tarfile.open(file) as archive:
        assert {member.mode for member in archive if member.isfile()} == {0o644, 0o755}
        assert not [name for name in archive.getnames() if re.match("[^/]+/(var|releases)/", name)]
        texts = [archive.extractfile(m).read() for m in archive if m.isfile()]
    assert not [text for text in texts if any(s.encode() in text for s in secrets(site))]


def test_another_time_umask_account_and_path_give_the_same_bundle(
    public_checkout, public_folder, free_port
):
    port = f"site:port={free_port()}"
    first, second = public_checkout(), public_checkout()
    for site in (first, second):
        site.cache = public_folder / "cache"
        tracked(site)
        site.bootstrap("-c", "staging.cfg", "site:user=www-data", port)
    one = bundled(first, first.path / "one.tar.gz")
    deeper = second.path / "deep"
    deeper.mkdir(mode=0o777)
    deeper.chmod(0o777)
    time.sleep(1.1)

    subprocess.run(
        ["sh", "-c", f"umask 077; exec bin/pylonyard bundle {deeper}/two.tar.gz"],
        cwd=second.path,
        env={"PATH": os.defpath, "HOME": "/nonexistent", "TZ": "Asia/Tokyo"},
        user="nobody",
        group="nogroup",
        extra_groups=[],
        check=True,
    )

    assert sha256(one) == sha256(deeper / "two.tar.gz")
