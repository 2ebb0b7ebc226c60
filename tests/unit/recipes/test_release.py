import json
import os
import stat

import pytest
from pylonyard.system import accounts
from pylonyard.system.errors import ArtifactError
from support import make_wheel
from zc.buildout import UserError

BLOG = {
    "blog:recipe": "pylonyard:site",
    "blog:name": "blog",
    "blog:server-name": "blog.example.org",
    "blog:port": "8090",
    "blog:eggs": "Shop",
    "blog:environment": "development",
    "blog:roles": "cron",
}
# The fewest parts that make a release.
SMALL = {"site:roles": "cron", "cron:target": "crontab"}


def releases(sandbox):
    folder = sandbox.directory / "releases"
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.mark.system
def test_run_makes_a_whole_release_that_is_current(sandbox):
    sandbox.run()

    current = sandbox.directory / "current"
    assert os.readlink(current) == "releases/1"
    manifest = json.loads((current / "manifest.json").read_text())
    assert {
        path: (entry["part"], entry["passed"]) for path, entry in manifest["files"].items()
    } == {
        "bin/pylonyard": ("release", []),
        "bin/shop": ("init", []),
        "etc/cron.d/shop": ("cron", manifest["files"]["etc/cron.d/shop"]["passed"]),
        "etc/init.d/shop": ("init", manifest["files"]["etc/init.d/shop"]["passed"]),
        "etc/logrotate.d/shop": ("init", manifest["files"]["etc/logrotate.d/shop"]["passed"]),
        "shop/bin/python": ("app", []),
        "shop/bin/shop": ("app", []),
        "shop/bin/paster": ("app", []),
        "shop/bin/shop-admin": ("app", []),
        "shop/env": ("app", []),
        "shop/production.ini": ("ini", ["PasteDeploy"]),
        "shop/server.json": ("init", ["pylonyard.server"]),
    }
    assert "sh" in manifest["files"]["etc/init.d/shop"]["passed"]
    assert manifest["files"]["shop/production.ini"]["mode"] == "0600"
    assert manifest["files"]["shop/env"]["link"].startswith(str(sandbox.store / "cache/sandboxes"))
    assert sorted(os.listdir(sandbox.directory / "bin")) == ["pylonyard", "shop"]
    assert stat.S_IMODE((current / "etc" / "init.d").stat().st_mode) == 0o755


@pytest.mark.system
def test_run_without_a_change_makes_no_release(sandbox, capsys):
    sandbox.run()
    before = sandbox.snapshot(".installed.cfg")

    sandbox.run()

    assert sandbox.snapshot(".installed.cfg") == before
    assert "Release 1 is current; nothing has changed.\n" in capsys.readouterr().out


def test_user_is_told_how_to_start_the_site(sandbox, capsys):
    sandbox.run(SMALL)

    out = capsys.readouterr().out
    assert "pylonyard:   bin/shop start   serves it at http://127.0.0.1:8080/\n" in out


def test_change_makes_a_release_and_old_ones_go(sandbox):
    for minute in range(4):
        sandbox.run({**SMALL, "release:keep": "2", "cron:schedule": f"{minute} * * * *"})

    assert releases(sandbox) == ["3", "4"]
    assert os.readlink(sandbox.directory / "current") == "releases/4"


def test_damaged_release_is_made_anew(sandbox):
    sandbox.run(SMALL)
    (sandbox.directory / "releases" / "1" / "shop" / "crontab").unlink()

    sandbox.run(SMALL)

    assert os.readlink(sandbox.directory / "current") == "releases/2"


def test_several_sites_make_one_release(sandbox):
    sandbox.run({**SMALL, **BLOG, "release:sites": "site blog"})

    current = sandbox.directory / "current"
    assert sorted(os.listdir(current / "bin")) == ["blog-cron", "pylonyard", "shop-cron"]
    assert (current / "blog" / "crontab").exists()


@pytest.mark.system
@pytest.mark.parametrize(
    ("environment", "unchecked", "refused"),
    [
        ("production", "default", True),
        ("development", "default", False),
        ("development", "refuse", True),
        ("production", "allow", False),
    ],
)
def test_unchecked_file_goes_live_where_it_is_allowed(
    sandbox, monkeypatch, environment, unchecked, refused
):
    monkeypatch.setattr("pylonyard.releases.validators.PROGRAM_PATH", "/nowhere")
    options = {
        "site:roles": "app ini init",
        "site:environment": environment,
        "site:user": "" if environment == "development" else "nosuchaccount",
        "release:unchecked": unchecked,
    }
    if not refused:
        sandbox.run(options)
        assert releases(sandbox) == ["1"]
        return

    with pytest.raises(ArtifactError) as caught:
        sandbox.run(options)

    assert str(caught.value) == (
        "[init] etc/init.d/shop: refused by sh: it is not on this machine; "
        "install it with: apt-get install dash, or set [release] unchecked = allow"
    )
    assert releases(sandbox) == []


@pytest.mark.system
def test_refused_file_keeps_the_release_before(sandbox):
    sandbox.run()

    with pytest.raises(ArtifactError) as caught:
        sandbox.run({"ini:settings": "[app:main]\nuse = %(missing)s"})

    assert str(caught.value).startswith(
        "[ini] shop/production.ini: refused by PasteDeploy: "
        "Bad value substitution: option 'use' in section 'app:main'"
    )
    assert releases(sandbox) == ["1"]
    assert os.readlink(sandbox.directory / "current") == "releases/1"


def test_two_contents_for_one_file_are_refused(sandbox):
    text = "[other]\n<= cron\nschedule = @daily\n"

    with pytest.raises(UserError) as caught:
        sandbox.run({**SMALL, "site:roles": "cron other"}, text)

    assert str(caught.value) == (
        "[other] shop/crontab: expected one content, but [cron] has another for it"
    )


def test_file_of_somebody_elses_in_bin_is_left_alone(sandbox):
    (sandbox.directory / "bin").mkdir()
    theirs = sandbox.directory / "bin" / "shop-cron"
    theirs.write_text("theirs")

    with pytest.raises(UserError) as caught:
        sandbox.run(SMALL)

    assert str(caught.value) == (
        f"[release] {theirs}: expected none, or our link, "
        "got another file; see what it is, and move it elsewhere"
    )
    assert theirs.read_text() == "theirs"
    assert releases(sandbox) == []


def test_folder_that_cannot_be_written_is_one_line(sandbox):
    (sandbox.directory / "releases").write_text("a file")

    with pytest.raises(UserError) as caught:
        sandbox.run(SMALL)

    assert str(caught.value) == (
        f"[release] cannot write {sandbox.directory}/releases: File exists"
    )


@pytest.mark.system
def test_application_that_cannot_be_set_up_does_not_go_live(sandbox):
    installer = "paster = nowhere:main\n[paste.app_install]\nmain = shop:Installer"
    wheel = make_wheel(sandbox.directory, "Other", scripts=installer, requires="Shop-Loader")
    options = {"site:eggs": "Other", "ini:setup": "true", "app:find-links": str(wheel.parent)}
    options["app:find-links"] += f" {sandbox.store}/wheels"

    with pytest.raises(UserError) as caught:
        sandbox.run(options)

    message = str(caught.value)
    assert message.startswith("[shop] paster setup-app: ")
    assert "No module named 'nowhere'" in message
    assert releases(sandbox) == []


def test_a_server_without_the_script_that_runs_it_does_not_go_live(sandbox):
    with pytest.raises(UserError) as caught:
        sandbox.run({"app:scripts": "shop"})

    assert str(caught.value) == (
        "[init] shop/server.json: refused by pylonyard.server: expected a script shop/bin/paster, "
        "got none; name paster in the option scripts of the application's section"
    )
    assert releases(sandbox) == []


@pytest.mark.system
@pytest.mark.skipif(os.geteuid() != 0, reason="only root serves as another account")
def test_group_of_the_account_may_read_its_ini(sandbox, monkeypatch):
    # What pytest gives is closed to it.
    monkeypatch.setattr("pylonyard.environments.site_account.reach_problem", lambda *_: "")
    sandbox.run({"site:user": "nobody", "site:roles": "app ini"})

    ini = sandbox.directory / "current" / "shop" / "production.ini"
    assert (stat.S_IMODE(ini.stat().st_mode), ini.owner()) == (0o640, "root")
    assert ini.stat().st_gid == (sandbox.directory / "var" / "log").stat().st_gid


@pytest.mark.system
def test_release_is_made_where_the_account_is_not_there_yet(sandbox, capsys):
    options = {"site:user": "nosuchaccount", "site:environment": "production"}

    sandbox.run(options)

    ini = sandbox.directory / "current" / "shop" / "production.ini"
    manifest = json.loads((sandbox.directory / "current" / "manifest.json").read_text())
    assert stat.S_IMODE(ini.stat().st_mode) == 0o600
    assert manifest["files"]["shop/production.ini"]["mode"] == "0640"
    activate = accounts.as_root("bin/pylonyard activate")
    left = (
        f"pylonyard: shop: left for {activate}: to make the account "
        "nosuchaccount, which is not on this machine, to make its folders in var\n"
    )
    assert left in capsys.readouterr().out
    assert not (sandbox.directory / "var" / "log").exists()

    sandbox.run(options)

    out = capsys.readouterr().out
    assert "Release 1 is current; nothing has changed.\n" in out
    assert left in out


def test_change_is_allowed_on_the_command_line_alone(sandbox):
    with pytest.raises(UserError) as caught:
        sandbox.run({**SMALL, "release:change": "allow"})

    assert str(caught.value) == (
        "[release] change: expected refuse in the configuration (allow works on the "
        "command line), got 'allow'"
    )
