import os
import stat

import pytest
from pylonyard.system.errors import OptionError
from zc.buildout import UserError

BLOG = {
    "blog:recipe": "pylonyard:site",
    "blog:name": "blog",
    "blog:server-name": "blog.example.org",
    "blog:port": "8090",
    "blog:eggs": "Shop",
    "blog:environment": "development",
    "blog:roles": "app ini init cron",
    "release:sites +": "blog",
}


def test_site_publishes_where_its_files_are(sandbox):
    site = sandbox.buildout({"site:environment": "staging", "site:user": "nobody"})["site"]

    root = sandbox.directory
    assert {key: site[key] for key in ("live", "log", "run", "data", "secrets")} == {
        "live": f"{root}/current/shop",
        "log": f"{root}/var/log",
        "run": f"{root}/var/run",
        "data": f"{root}/var/data/shop",
        "secrets": f"{root}/var/secrets/shop",
    }
    assert (site["mode"], site["environment"]) == ("proxy", "staging")
    assert site["sections"] == "app ini init cron"


@pytest.mark.parametrize(
    ("options", "agreed"),
    [
        ({}, ("", "", "10485760")),
        ({"vhost:max-body": "500", "vhost:prefix": "/wiki"}, ("/wiki", "", "500")),
        ({"site:max-body": "0", "site:timeout": "9"}, ("", "9", "0")),
        ({"site:roles": "app ini init"}, ("", "", "")),
    ],
)
def test_both_ends_get_what_is_declared_once(sandbox, options, agreed):
    run = sandbox.buildout({"site:roles": "app ini vhost init", **options})

    for section in ("site", "ini"):
        keys = ("prefix", "timeout", "max-body")
        assert tuple(run[section][key] for key in keys) == agreed
    if "site:roles" not in options:
        assert tuple(run["vhost"][key] for key in keys) == agreed


def test_both_ends_get_an_address_of_ipv6(sandbox):
    run = sandbox.buildout({"site:host": "::1", "site:roles": "app ini vhost init"})

    assert run["vhost"].recipe.settings.backends == (("[::1]", 8080),)
    assert run["ini"].recipe.settings.host == run["init"].recipe.settings.host == "[::1]"
    assert "\nhost = ::1\n" in run["ini"].recipe.text
    assert run["release"].recipe.sites[0].host == "::1"


def test_an_application_that_may_run_once_is_so_everywhere(sandbox):
    run = sandbox.buildout({"site:overlap": "false"})

    assert '"overlap": false' in run["init"].recipe._server_json()
    with pytest.raises(UserError) as caught:
        sandbox.buildout({"site:overlap": "false", "site:mode": "embedded"})["site"]
    assert str(caught.value) == (
        "[site] overlap: expected true in mode embedded, which has many processes, got false"
    )


def test_site_makes_what_it_writes_into_and_keeps_it(sandbox):
    recipe = sandbox.buildout()["site"].recipe

    assert recipe.install() == ()

    var = sandbox.directory / "var"
    modes = [stat.S_IMODE((var / n).stat().st_mode) for n in ("log", "run", "data/shop")]
    assert modes == [0o755, 0o755, 0o750]
    (var / "log").chmod(0o700)
    assert recipe.update() == ()
    assert stat.S_IMODE((var / "log").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders away")
def test_account_owns_what_it_writes_into(sandbox):
    sandbox.buildout({"site:user": "nobody"})["site"].recipe.install()

    var = sandbox.directory / "var"
    assert {(var / name).owner() for name in ("log", "run", "data/shop")} == {"nobody"}


def test_folder_that_cannot_be_made_is_one_line(sandbox):
    recipe = sandbox.buildout()["site"].recipe
    (sandbox.directory / "var").write_text("a file")

    with pytest.raises(UserError) as caught:
        recipe.install()

    assert str(caught.value) == f"[site] cannot make {sandbox.directory}/var/log: Not a directory"


def test_further_site_has_copies_of_the_sections(sandbox):
    buildout = sandbox.buildout(BLOG)
    assert buildout["blog"]["sections"] == "blog-app blog-ini blog-init blog-cron"

    ini = buildout["blog-ini"]

    assert (ini["name"], ini["port"]) == ("blog", "8090")
    assert ini["data"] == f"{sandbox.directory}/var/data/blog"
    assert buildout["ini"]["port"] == "8080"
    assert buildout["blog-init"]["ini"] == f"{sandbox.directory}/current/blog/production.ini"
    assert buildout["blog-app"]["eggs"].split() == ["Shop"]


@pytest.mark.parametrize("extends", [{}, {"blog-ini:<": "ini"}])
def test_section_of_the_users_own_overrides_the_copy(sandbox, extends):
    buildout = sandbox.buildout(
        {
            **BLOG,
            **extends,
            "ini:secrets": "a = uuid",
            "blog-ini:threads": "2",
            "blog-ini:secrets +": "b = uuid",
            "blog-ini:email-to +": "ops@example.org",
        }
    )
    buildout["blog"]

    ini = buildout["blog-ini"]

    assert (ini["threads"], ini["email-to"]) == ("2", "ops@example.org")
    assert ini["secrets"].split("\n") == ["a = uuid", "b = uuid"]
    assert "threads" not in buildout["ini"]


def test_section_of_the_users_own_in_several_files_changes_the_copy(sandbox):
    base = sandbox.directory / "base.cfg"
    own = (
        "[ini]\nsecrets =\n    a = uuid\n    b = uuid\nsettings = [app:main]\nemail-to = a@b.org\n"
    )
    own += "[blog-ini]\nsecrets -= a = uuid\nsettings += a = 1\nemail-to += c@d.org\n"
    base.write_text(sandbox.config + own)
    sandbox.config = "[buildout]\nextends = base.cfg\n"
    text = "[blog-ini]\nsecrets += c = uuid\nsettings += b = 2\nemail-to = e@f.org\n"

    buildout = sandbox.buildout(BLOG, text)
    buildout["blog"]

    ini = buildout["blog-ini"]
    assert ini["secrets"].split("\n") == ["b = uuid", "c = uuid"]
    assert ini["settings"].split("\n") == ["[app:main]", "a = 1", "b = 2"]
    assert ini["email-to"] == "e@f.org"


def test_role_that_extends_another_section_is_copied_whole(sandbox):
    text = "[worker]\n<= cron\nschedule = @daily\n"
    buildout = sandbox.buildout({**BLOG, "blog:roles": "worker"}, text)
    buildout["blog"]

    assert buildout["blog-worker"]["schedule"] == "@daily"
    assert buildout["blog-worker"]["name"] == "blog"


def test_account_of_production_may_be_made_by_the_activation(sandbox):
    options = {"site:environment": "production", "site:user": "nosuchaccount"}
    recipe = sandbox.buildout(options)["site"].recipe

    recipe.install()

    assert not (sandbox.directory / "var").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders away")
def test_empty_folders_are_given_to_another_account(sandbox):
    sandbox.buildout()["site"].recipe.install()

    sandbox.buildout({"site:user": "nobody"})["site"].recipe.install()

    assert (sandbox.directory / "var/data/shop").owner() == "nobody"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"site:roles": "app inni crom"},
            "[site] roles: expected sections of this buildout, got inni, crom",
        ),
        (
            {"site:mode": "cgi", "site:port": "x"},
            "[site] port: expected a whole number (a TCP port) from 1 to 65535, got 'x'; "
            "mode: expected proxy or mod_wsgi or embedded, got 'cgi'",
        ),
        (
            {"site:user": "nosuchaccount"},
            "[site] user: expected an existing account, got 'nosuchaccount'; make it, as root, "
            "with: useradd --system --user-group --no-create-home --shell /usr/sbin/nologin "
            "nosuchaccount",
        ),
        (
            {"site:environment": "staging", "site:user": "root"},
            "[site] user: expected an account of the site's own in staging, got 'root', who is "
            "root; name one, as in: user = shop",
        ),
    ],
)
def test_bad_site_is_refused(sandbox, options, message):
    with pytest.raises(OptionError) as caught:
        sandbox.buildout(options)["site"]

    assert str(caught.value) == message


def test_path_too_long_for_sockets_is_refused_before_mod_wsgi_is_built(sandbox, monkeypatch):
    monkeypatch.setattr("pylonyard.webservers.apache.options.LONGEST_SOCKET_PREFIX", 20)
    options = {"site:mode": "mod_wsgi", "site:roles": "app ini wsgi vhost"}

    with pytest.raises(OptionError) as caught:
        sandbox.buildout({**options, "vhost:recipe": "pylonyard:apache_vhost"})["site"]

    assert caught.value.problems == (
        "run-folder: expected a path of at most 15 characters, which sockets need, got "
        f"'{sandbox.directory}/var/run'; use a shorter path for the sandbox",
    )
