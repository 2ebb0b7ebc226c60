"""From the cache alone, in a network namespace that has nothing but its loopback."""

import pytest
from namespaces import need
from pylonyard.interpreters import find

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
    need(ALONE)


def stores(site):
    """Return what the stores of built things hold, so that a build shows."""
    listed = site.run(
        "sh",
        "-c",
        "cd $(dirname $(readlink current/simplesite/env))/..;"
        " for store in sandboxes mod_wsgi; do"
        " find $store -mindepth 1 -maxdepth 1 -name '[0-9a-f]*' -printf '%p %i %T@\\n'; done",
    ).stdout
    return sorted(listed.splitlines())


@pytest.mark.parametrize(
    ("config", "title"),
    [("staging.cfg", "<title>SimpleSite</title>"), ("legacy.cfg", "<title>Home</title>")],
)
def test_a_fresh_checkout_serves_from_a_warm_cache(checkout, config, title):
    if config == "legacy.cfg":
        try:
            find("python2.7")
        except ValueError:
            pytest.skip("lacks python2.7")
    words = ["-c", config, "site:port=8080"]
    first, second = checkout("first"), checkout("second")
    first.bootstrap(*words)
    before = stores(first)

    script = SERVED.format(python=second.python, words=" ".join(words))
    told = second.run(*ALONE, script).stdout

    assert title in told
    assert stores(first) == before, "a second checkout with the same pins has built something"


def test_a_second_checkout_builds_no_module(public_checkout, free_port):
    words = ["site:mode=mod_wsgi", "site:user=www-data", f"site:port={free_port()}"]
    first, second = public_checkout(), public_checkout()
    first.bootstrap(*words, "-c", "staging.cfg")
    before = stores(first)

    told = second.bootstrap(*words, "-c", "staging.cfg").stdout

    assert "Building mod_wsgi" not in told
    assert stores(second) == before


def test_a_second_checkout_of_the_book_s_site_builds_neither_sandbox_nor_module(public_checkout):
    try:
        find("python2.7")
    except ValueError:
        pytest.skip("lacks python2.7")
    # The account could not read an interpreter below /root; nothing is served here.
    words = ["-c", "legacy.cfg", "site:mode=mod_wsgi", "site:user=www-data", "ini:setup=false"]
    first, second = public_checkout(), public_checkout()
    first.bootstrap(*words)
    before = stores(first)

    script = f"ip link set lo up; {second.python} bootstrap.py --offline {' '.join(words)}"
    told = second.run(*ALONE, script).stdout

    assert "pylonyard: Release 1 is current." in told
    assert "mod_wsgi/" in "".join(before)
    assert stores(first) == before


def test_what_the_cache_lacks_is_named_whole(checkout, tmp_path):
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


def test_a_part_of_zc_recipe_egg_is_installed_from_the_cache_as_well(checkout):
    site = checkout()
    site.bootstrap("buildout:parts=")
    (site.path / "egg.cfg").write_text(
        "[buildout]\nextends = profiles/versions.cfg\nparts = scripts\n"
        "[scripts]\nrecipe = zc.recipe.egg\neggs = waitress\n"
    )

    script = "ip link set lo up; bin/buildout -o -c egg.cfg; bin/waitress-serve --help"
    told = site.run(*ALONE, script).stdout

    assert f"Generated script '{site.path}/bin/waitress-serve'." in told
    assert "waitress-serve [OPTS]" in told
