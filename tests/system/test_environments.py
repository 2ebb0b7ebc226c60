"""The environments that come with a checkout, and several sites in one."""

import json
import os
import shutil

import pytest
from checkouts import fetch

pytestmark = pytest.mark.system

TWO_SITES = """
[buildout]
extends = buildout.cfg

[site]
port = {first}

[blog]
<= site
name = blog
port = {second}

[blog-ini]
settings +=
    [app:main]
    simplesite.title = The blog

[release]
sites += blog
"""


def test_staging_serves_by_proxy_a_copy_of_the_code(public_checkout, free_port):
    site, port = public_checkout(), free_port()

    site.bootstrap("-c", "staging.cfg", f"site:port={port}", "site:user=www-data")
    site.control("simplesite", "start")

    assert fetch(f"http://127.0.0.1:{port}/")[0] == 200
    ini = (site.path / "current/simplesite/production.ini").read_text()
    assert "debug = false" in ini
    where = site.run(
        "current/simplesite/bin/python", "-c", "import simplesite; print(simplesite.__file__)"
    ).stdout
    assert str(site.path) not in where, "code is served from the checkout"


def test_production_serves_by_mod_wsgi_as_an_account_of_its_own(public_checkout, free_port):
    site, httpd_port = public_checkout(), free_port()

    site.bootstrap("-c", "production.cfg", "site:user=www-data", f"vhost:httpd-port={httpd_port}")
    site.control("simplesite-httpd", "start")

    assert fetch(f"http://127.0.0.1:{httpd_port}/", Host="example.org")[0] == 200
    ini = site.path / "current/simplesite/production.ini"
    assert (ini.stat().st_mode & 0o777, ini.stat().st_uid) == (0o640, 0)
    assert "host = 127.0.0.1" in ini.read_text()
    load = (site.path / "current/etc/apache2/mods-available/wsgi.load").read_text()
    assert "LoadModule wsgi_module" in load
    assert (site.path / "current/simplesite/dispatch.wsgi").exists()


def test_an_environment_states_only_what_differs(checkout):
    site = checkout()
    for name in ("buildout.cfg", "staging.cfg", "production.cfg"):
        lines = (site.path / name).read_text().splitlines()
        options = [line for line in lines if "=" in line and not line.startswith("#")]
        assert len(options) <= 8, name


def test_a_second_site_is_a_few_more_lines(checkout, free_port):
    site, first, second = checkout(), free_port(), free_port()
    (site.path / "two.cfg").write_text(TWO_SITES.format(first=first, second=second))

    output = site.bootstrap("-c", "two.cfg").stdout
    for name in ("simplesite", "blog"):
        site.control(name, "start")

    assert output.splitlines()[-2:] == [
        f"pylonyard:   bin/simplesite start   serves it at http://127.0.0.1:{first}/",
        f"pylonyard:   bin/blog start   serves it at http://127.0.0.1:{second}/",
    ]
    assert "<title>SimpleSite</title>" in fetch(f"http://127.0.0.1:{first}/")[1]
    assert "<title>The blog</title>" in fetch(f"http://127.0.0.1:{second}/")[1]
    secrets = [
        (site.path / "var/secrets" / name / "app_instance_secret").read_text()
        for name in ("simplesite", "blog")
    ]
    assert secrets[0] != secrets[1]


@pytest.mark.skipif(not shutil.which("apache2", path="/usr/sbin"), reason="lacks apache2")
def test_a_site_that_is_no_longer_named_leaves_with_its_command(checkout, free_port):
    site = checkout()
    config = TWO_SITES.format(first=free_port(), second=free_port())
    (site.path / "two.cfg").write_text(f"{config}\n[blog-vhost]\nhttpd-port = {free_port()}\n")
    site.bootstrap("-c", "two.cfg")
    for name in ("blog", "blog-httpd"):
        site.control(name, "start")

    refused = site.buildout("-c", "buildout.cfg", check=False)

    assert (refused.returncode, refused.stdout.splitlines()[-1]) == (
        1,
        "Error: [release] blog, blog-httpd: expected none to run, since the new release has no "
        "such command; stop first: bin/blog stop && bin/blog-httpd stop",
    )
    site.run("sh", "-c", "bin/blog stop && bin/blog-httpd stop")
    site.buildout("-c", "buildout.cfg")
    assert not os.path.lexists(site.path / "bin/blog")
    assert not (site.path / "current/blog").exists()
    assert (site.path / "var/data/blog/simplesite.db").exists(), "data was deleted"


def test_many_sites_are_one_release(checkout):
    site = checkout()
    lines = ["[buildout]", "extends = buildout.cfg", "[ini]", "setup = false", "[release]"]
    lines += ["sites =", *(f"    s{number}" for number in range(12))]
    for number in range(12):
        lines += [f"[s{number}]", "<= site", f"name = s{number}", f"port = {20000 + number}"]
    (site.path / "many.cfg").write_text("\n".join(lines) + "\n")

    output = site.bootstrap("-c", "many.cfg").stdout

    assert "Release 1 of many.cfg is current." in output
    manifest = json.loads((site.path / "current/manifest.json").read_text())
    inis = [name for name in manifest["files"] if name.endswith("/production.ini")]
    assert len(inis) == 12
    assert all(manifest["files"][name]["passed"] == ["PasteDeploy"] for name in inis)
    # A plain run goes on with it, from another folder as well.
    assert "Release 1 of many.cfg is current; nothing has changed." in site.buildout().stdout
    output = site.run("sh", "-c", 'cd / && exec "$OLDPWD/bin/buildout"').stdout
    assert "Release 1 of many.cfg is current; nothing has changed." in output
