"""From the cache alone, in a network namespace that has nothing but its loopback."""

import os
import re
import shlex

import pytest
from checkouts import CACHE
from interpreters_for_all import need_interpreter, readable_by_all
from namespaces import require_namespace

pytestmark = pytest.mark.system

ALONE = ["unshare", "--net", "sh", "-eu", "-c"]
SERVED = """
ip link set lo up
if ip route get 192.0.2.1 2>/dev/null; then echo "there is a network"; exit 1; fi
{python} bootstrap.py --offline {words}
bin/simplesite start
curl -s http://127.0.0.1:8080/ | grep '<title>'
bin/simplesite stop
"""


@pytest.fixture(autouse=True)
def needs_a_namespace():
    require_namespace(ALONE)


def stores(site):
    """Return what the stores of built things hold, so that a build shows."""
    listed = site.run(
        "sh",
        "-c",
        "cd $(dirname $(readlink current/simplesite/env))/..;"
        " for store in sandboxes mod_wsgi; do test -d $store || continue;"
        " find $store -mindepth 1 -maxdepth 1 -name '[0-9a-f]*' -printf '%p %i %T@\\n'; done",
    ).stdout
    return sorted(listed.splitlines())


@pytest.mark.parametrize(
    ("config", "title"),
    [("staging.cfg", "<title>SimpleSite</title>"), ("legacy.cfg", "<title>Home</title>")],
)
def test_a_fresh_checkout_serves_from_a_warm_cache(checkout, config, title):
    if config == "legacy.cfg":
        need_interpreter("python2.7")
    words = ["-c", config, "site:port=8080", "site:environment=development"]
    first, second = checkout("first"), checkout("second")
    first.bootstrap(*words)
    before = stores(first)

    script = SERVED.format(python=second.python, words=" ".join(words))
    output = second.run(*ALONE, script).stdout

    assert title in output
    assert stores(first) == before, "a second checkout with the same pins has built something"


def test_a_second_checkout_builds_no_module(public_checkout, free_port):
    words = ["site:mode=mod_wsgi", "site:user=www-data", f"site:port={free_port()}"]
    first, second = public_checkout(), public_checkout()
    first.bootstrap(*words, "-c", "staging.cfg")
    before = stores(first)

    output = second.bootstrap(*words, "-c", "staging.cfg").stdout

    assert "Building mod_wsgi" not in output
    assert stores(second) == before


def test_a_second_checkout_of_the_book_s_site_builds_neither_environment_nor_module(
    public_checkout, public_folder
):
    python = readable_by_all("python2.7", public_folder)
    words = ["-c", "legacy.cfg", "site:mode=mod_wsgi", "site:user=www-data", "ini:setup=false"]
    words += [f"app:python={python}"]
    first, second = public_checkout(), public_checkout()
    first.bootstrap(*words)
    before = stores(first)

    script = f"ip link set lo up; {second.python} bootstrap.py --offline {' '.join(words)}"
    output = second.run(*ALONE, script).stdout

    assert f"pylonyard: Release 1 of {words[1]} is current." in output
    assert "mod_wsgi/" in "".join(before)
    assert stores(first) == before


def test_all_files_that_the_cache_lacks_are_named(checkout, tmp_path):
    site = checkout()
    empty = tmp_path / "empty"
    empty.mkdir()

    refused = site.run(
        "env", f"BUILDOUT_HOME={empty}", site.python, "bootstrap.py", "--offline", check=False
    )

    assert refused.returncode == 1
    assert refused.stdout.startswith(f"bootstrap: not in the cache {site.path}/cache/dist: ")
    assert "zc-buildout==6.0.1" in refused.stdout
    assert "jinja2==3.1.6" in refused.stdout
    assert len(refused.stdout.splitlines()) == 1


def without(folder, *patterns):
    """Return a BUILDOUT_HOME whose cache has no eggs, and all wheels and sources but some."""
    dist = folder / "cache" / "dist"
    dist.mkdir(parents=True)
    for path in (CACHE / "dist").iterdir():
        if path.is_file() and not any(path.match(pattern) for pattern in patterns):
            os.link(path, dist / path.name)
    (folder / "default.cfg").write_text(
        f"[buildout]\ndownload-cache = {folder}/cache\neggs-directory = {folder}/cache/eggs\n"
        "[site]\nenvironment = development\n"
    )
    return str(folder)


def refused(site, *words):
    """Return what the one line names of a run without network, and its command."""
    script = f"ip link set lo up; {site.python} bootstrap.py --offline {' '.join(words)}"
    output = site.run(*ALONE, script, check=False)
    assert output.returncode == 1, output.stdout
    line = output.stdout.splitlines()[-1]
    found = re.fullmatch(
        r"Error: .* not in the cache \S+: (.*); fetch what is missing where there is a network "
        "with: (.*)",
        line,
    )
    assert found, line
    names = re.split(r", | \(and perhaps |\)", found[1])
    return [name for name in names if name], shlex.split(found[2])


def lacking(checkout, home, gone, words):
    """Return a checkout, and its cache of all that a run needs but for what is ``gone``."""
    site = checkout(BUILDOUT_HOME=without(home, *gone))
    # What no test has fetched yet is missing as well.
    site.run(*refused(site, *words)[1])
    dist = home / "cache" / "dist"
    for path in [path for pattern in gone for path in dist.glob(pattern)]:
        path.unlink()
    return site, dist


PYLONS = "Pylons-0.9.7.tar.gz"
PURE = "py3-none-any.whl"


@pytest.mark.parametrize(
    ("words", "gone", "named"),
    [
        (
            ["-c", "staging.cfg", "site:environment=development"],
            ["mdurl-*", "waitress-3*"],
            [f"mdurl-0.1.2-{PURE}", f"waitress-3.0.2-{PURE}"],
        ),
        (
            ["-c", "staging.cfg", "app:lock=", "site:environment=development"],
            ["mdurl-*", "waitress-3*"],
            ["mdurl==0.1.2", "waitress==3.0.2"],
        ),
        (
            ["-c", "legacy.cfg"],
            ["Pylons-0.9.7*", "virtualenv-*"],
            [PYLONS, f"virtualenv-20.21.1-{PURE}"],
        ),
        (
            ["-c", "legacy.cfg", "app:lock="],
            ["Pylons-0.9.7*", "virtualenv-*"],
            ["pylons==0.9.7", f"virtualenv-20.21.1-{PURE}"],
        ),
    ],
    ids=["locked", "unlocked", "locked-other-python", "unlocked-other-python"],
)
def test_all_that_is_missing_is_named_and_the_command_fetches_just_that(
    checkout, tmp_path, words, gone, named
):
    if "legacy.cfg" in words:
        need_interpreter("python2.7")
    site, dist = lacking(checkout, tmp_path / "home", gone, words)
    before = {path.name for path in dist.iterdir()}

    names, command = refused(site, *words)
    site.run(*command)
    fetched = {path.name for path in dist.iterdir()} - before
    script = f"ip link set lo up; {site.python} bootstrap.py --offline {' '.join(words)}"
    output = site.run(*ALONE, script).stdout

    assert sorted(names) == sorted(named)
    assert len(fetched) == len(named)
    assert f"pylonyard: Release 1 of {words[1]} is current." in output


def test_source_of_mod_wsgi_is_named_together_with_what_else_is_missing(public_checkout, tmp_path):
    words = ["-c", "staging.cfg", "site:mode=mod_wsgi", "site:user=simplesite"]
    unlocked_words, gone = [*words, "app:lock="], ["mod_wsgi-*", "waitress-3*"]
    # Sockets need a short path.
    site, dist = lacking(public_checkout, tmp_path / "home", gone, unlocked_words)

    locked, _ = refused(site, *words)
    unlocked, command = refused(site, *unlocked_words)
    site.run(*command)

    assert locked == [f"waitress-3.0.2-{PURE}", "mod_wsgi-6.1.1.tar.gz"]
    assert unlocked == ["waitress==3.0.2", "mod_wsgi-6.1.1.tar.gz"]
    assert (dist / "mod_wsgi-6.1.1.tar.gz").exists()


def test_a_part_of_zc_recipe_egg_is_installed_from_the_cache_as_well(checkout):
    site = checkout()
    site.bootstrap("buildout:parts=")
    (site.path / "egg.cfg").write_text(
        "[buildout]\nextends = profiles/versions.cfg\nparts = scripts\n"
        "[scripts]\nrecipe = zc.recipe.egg\neggs = waitress\n"
    )

    script = "ip link set lo up; bin/buildout -o -c egg.cfg; bin/waitress-serve --help"
    output = site.run(*ALONE, script).stdout

    assert f"Generated script '{site.path}/bin/waitress-serve'." in output
    assert "waitress-serve [OPTS]" in output
