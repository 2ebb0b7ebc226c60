"""One cache for several accounts: one of them fills it, the others only read it."""

import os
import pwd
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.system

ACCOUNT = "nobody"


@pytest.fixture
def reader(public_folder, public_checkout, free_port):
    """Return a checkout of another account, whose cache root has filled."""
    filled, site = public_checkout(), public_checkout()
    filled.bootstrap(f"site:port={free_port()}", "-c", "staging.cfg", f"site:user={ACCOUNT}")
    entry = pwd.getpwnam(ACCOUNT)
    for path in [site.path, *site.path.rglob("*")]:
        os.lchown(path, entry.pw_uid, entry.pw_gid)
    return site


def run_as_reader(site, *words):
    entry = pwd.getpwnam(ACCOUNT)
    return subprocess.run(
        [str(word) for word in words],
        cwd=site.path,
        env={**site.environ, "HOME": str(site.path), "USER": ACCOUNT},
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def bootstrap(site, *words):
    return run_as_reader(
        site, site.python, "bootstrap.py", "--offline", f"site:user={ACCOUNT}", *words
    )


def test_run_that_needs_nothing_new_works_with_a_cache_that_it_cannot_write(
    reader, public_folder, free_port
):
    port = f"site:port={free_port()}"

    first = bootstrap(reader, "-c", "staging.cfg", port)

    assert first.returncode == 0, first.stdout
    assert "pylonyard: Release 1 of staging.cfg is current." in first.stdout
    output = (
        f"{public_folder}/cache/users cannot be written, so the cache does not know that "
        "this sandbox uses it."
    )
    assert [line for line in first.stdout.splitlines() if output in line] != []
    again = run_as_reader(reader, "bin/buildout", "-o", "-c", "staging.cfg", port)
    assert again.returncode == 0, again.stdout


def test_file_missing_in_a_cache_that_cannot_be_written_is_one_line(
    reader, public_folder, free_port
):
    port = f"site:port={free_port()}"
    bootstrap(reader, "-c", "staging.cfg", port)
    (egg,) = (public_folder / "cache" / "eggs" / "v5").glob("*/waitress-*.egg")
    shutil.rmtree(egg)

    refused = run_as_reader(reader, "bin/buildout", "-o", "-c", "staging.cfg", port)

    assert refused.returncode == 1
    errors = [line for line in refused.stdout.splitlines() if "cannot write" in line]
    assert len(errors) == 1, refused.stdout
    assert str(egg.parent) in errors[0]
    assert "Permission denied" in errors[0]
    assert "Traceback" not in refused.stdout
    assert (reader.path / "current" / "manifest.json").is_file()
    assert run_as_reader(reader, "bin/pylonyard", "cache").returncode == 0


def test_cache_of_two_sandboxes_is_cleaned_of_what_neither_needs(public_checkout, free_port):
    first, second = public_checkout(), public_checkout()
    words = [f"site:port={free_port()}", f"site:user={ACCOUNT}"]
    first.bootstrap(*words, "-c", "staging.cfg")
    second.bootstrap(*words, "-c", "staging.cfg")

    shown = first.run("bin/pylonyard", "cache").stdout
    cleaned = first.run("bin/pylonyard", "cache", "--clean").stdout

    assert f"  {first.path}\n" in shown
    assert f"  {second.path}\n" in shown
    assert cleaned.splitlines()[-1].startswith("removed: ")
    for site in (first, second):
        site.run("current/simplesite/bin/python", "-c", "import waitress, simplesite")
        output = site.buildout("-o", *words).stdout
        assert "nothing has changed" in output
