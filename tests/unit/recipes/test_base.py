import os
import sys
from dataclasses import dataclass

import pytest
from pylonyard.config import converters
from pylonyard.environments.eggs_venv import make_empty, site_packages
from pylonyard.packages.interpreters import interpreter
from pylonyard.recipes import cron_restart, init_script
from pylonyard.recipes.base import Recipe, option
from pylonyard.system.atomic import Artifact
from pylonyard.system.errors import OptionError
from zc.buildout import UserError


@dataclass(frozen=True, kw_only=True)
class Options:
    port: int = option(converters.port)
    text: str = option(converters.text, default="hello")


class Greeting(Recipe):
    declaration = Options

    def artifacts(self):
        if self.settings.text == "odd":
            raise ValueError("text: expected even, got 'odd'")
        yield Artifact("shop/greeting", f"{self.settings.text} {self.settings.port}\n")

    def published(self):
        return {"path": self.live / "shop" / "greeting", "port-doubled": 160}


@pytest.fixture
def greeting(sandbox):
    """Return a function: texts of a section -> the recipe and its section."""

    def make(**texts):
        section = sandbox.buildout({f"greeting:{name}": text for name, text in texts.items()})
        options = section["greeting"]
        return Greeting(section, "greeting", options), options

    return make


def test_section_is_published_as_texts(greeting, sandbox):
    recipe, options = greeting(port="80")

    assert options["path"] == f"{sandbox.directory}/parts/greeting/shop/greeting"
    assert options["port-doubled"] == "160"
    assert options["location"] == f"{sandbox.directory}/parts/greeting"
    assert recipe.settings == Options(port=80, text="hello")


def test_nothing_is_written_before_install(greeting, sandbox):
    recipe, _ = greeting(port="80")
    location = sandbox.directory / "parts" / "greeting"
    assert not location.exists()

    assert recipe.install() == [str(location)]

    assert (location / "shop" / "greeting").read_text() == "hello 80\n"
    assert recipe.update() == [str(location)]


def test_base_recipe_stages_and_publishes_nothing(sandbox):
    class Nothing(Recipe):
        declaration = dataclass(frozen=True)(type("Options", (), {}))

    buildout = sandbox.buildout({"nothing:x": "y"})
    recipe = Nothing(buildout, "nothing", buildout["nothing"])

    assert (recipe.files, recipe.published()) == ([], {})


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, "[greeting] port: required, but missing"),
        ({"port": "80", "text": "odd"}, "[greeting] text: expected even, got 'odd'"),
    ],
)
def test_bad_section_is_refused_before_anything_is_written(greeting, sandbox, texts, message):
    with pytest.raises(OptionError) as caught:
        greeting(helper="x", **texts)

    assert str(caught.value) == message
    assert not (sandbox.directory / "parts").exists()


def test_folder_that_cannot_be_written_is_one_line(greeting, sandbox):
    recipe, _ = greeting(port="80")
    (sandbox.directory / "parts").write_text("a file")

    with pytest.raises(UserError) as caught:
        recipe.install()

    parts = sandbox.directory / "parts"
    assert str(caught.value) == f"[greeting] cannot write {parts}: File exists"


def test_second_run_in_the_sandbox_is_refused(greeting, sandbox):
    greeting(port="80")

    assert (sandbox.directory / ".pylonyard.lock").exists()


# Which parts a release takes.


def test_files_of_a_part_are_live_in_the_release_that_takes_it(sandbox):
    run = sandbox.buildout({"buildout:parts": "init cron release"})

    assert run["cron"]["path"] == f"{sandbox.directory}/current/etc/cron.d/shop"
    assert run["site"]["live"] == f"{sandbox.directory}/current/shop"


ALONE = [
    {"buildout:parts": "cron"},
    {"buildout:parts": "cron release", "release:sites": "blog", "blog:<": "site"},
    {"buildout:parts": "cron release", "site:roles": "app init"},
]


@pytest.mark.parametrize("options", ALONE)
def test_files_of_any_other_part_are_live_where_buildout_has_them(sandbox, options):
    run = sandbox.buildout({**options, "cron:control": "/bin/true"})

    assert run["cron"]["path"] == f"{sandbox.directory}/parts/cron/etc/cron.d/shop"


@pytest.mark.parametrize(
    "text",
    [
        "[buildout]\nparts = cron live\n[live]\n<= release\n[release]\nsites = nowhere\n"
        "[live]\nsites = ${one:site}\n[one]\nsite = site\n",
        "[buildout]\nparts = cron after\n[after]\ncommand = ls ${release:current}\n",
        "[buildout]\nparts = cron release\n[release]\nrecipe = Pylonyard [x] : release\n",
    ],
    ids=["extended", "referred to", "spelled otherwise"],
)
def test_a_release_is_found_however_a_run_comes_to_it(sandbox, text):
    assert sandbox.buildout(text=text)["cron"]["path"].startswith(f"{sandbox.directory}/current/")


def test_a_site_that_no_release_takes_has_nothing_live(sandbox):
    run = sandbox.buildout({"buildout:parts": "site", "site:roles": "nowhere"})

    assert "live" not in run["site"]


def test_a_release_of_the_command_line_takes_its_parts(sandbox):
    run = sandbox.buildout({"buildout:parts": "wsgi"})
    run.install(["release"])
    assert run["init"]["script"] == f"{sandbox.directory}/current/etc/init.d/shop"


def test_a_release_that_comes_after_parts_of_its_own_is_refused(sandbox):
    with pytest.raises(UserError) as caught:
        options = {"buildout:parts": "wsgi", "cron:control": "/bin/true"}
        sandbox.buildout(options).install(["app", "release"])

    assert str(caught.value) == (
        "[release] parts of [buildout]: expected release among them, got none"
    )


# Commands of a part outside a release.


@pytest.fixture
def alone(sandbox):
    """Return a function: options of [init], and more -> the run that installed it alone."""
    return lambda **more: sandbox.run(
        {"buildout:parts": "init", **{f"init:{name}": text for name, text in more.items()}}
    )


def test_commands_are_linked_into_bin_and_go_with_the_part(alone, sandbox):
    alone()
    link = sandbox.directory / "bin" / "shop"
    assert link.resolve() == sandbox.directory / "parts" / "init" / "bin" / "shop"

    sandbox.run({"buildout:parts": "ini"})
    assert not link.is_symlink()


@pytest.mark.parametrize("target", ["", "../elsewhere", "../current/bin/shop-httpd"])
def test_a_command_in_bin_that_is_not_of_the_part_stays(alone, sandbox, target):
    place = sandbox.directory / "bin" / "shop"
    place.parent.mkdir()
    place.symlink_to(target) if target else place.write_text("mine\n")

    with pytest.raises(UserError, match="expected none, or our link, got another file"):
        alone()

    assert place.is_symlink() if target else place.read_text() == "mine\n"


def test_the_link_of_an_earlier_release_is_replaced(alone, sandbox):
    (sandbox.directory / "bin").mkdir()
    (sandbox.directory / "bin" / "shop").symlink_to("../current/bin/shop")

    alone()

    assert (sandbox.directory / "bin" / "shop").resolve().is_file()


def test_folders_that_the_account_writes_to_are_made_once(alone, sandbox):
    alone(**{"log-folder": "logs", "run-folder": "run"})
    made = sandbox.directory / "logs"
    assert made.stat().st_mode & 0o777 == 0o755
    assert (sandbox.directory / "var" / "data" / "shop").stat().st_mode & 0o777 == 0o750

    made.chmod(0o700)
    alone(**{"log-folder": "logs", "run-folder": "run", "umask": "027"})
    assert made.stat().st_mode & 0o777 == 0o700


# What a part needs that stands alone.

WITHOUT_HOME = {"init:home": "", "init:ini": "/shop.ini", "init:installer": "false"}
NEITHER = "home: expected an environment, or eggs to make one of, got neither"


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        ("init", WITHOUT_HOME, NEITHER),
        (
            "init",
            WITHOUT_HOME,
            "home: expected an environment, or eggs to make one of, got neither",
        ),
        (
            "init",
            {"init:mode": "mod_wsgi"},
            "mode: expected proxy outside a release, got mod_wsgi",
        ),
        (
            "init",
            {"init:paster": ""},
            "home: expected an environment with PasteScript, whose paster serves the site, got ",
        ),
        ("init", {"init:home": "/nowhere"}, "home: expected an environment, got '/nowhere'"),
        (
            "cron",
            {},
            "control: required outside a release, such as ${init:control}, but missing",
        ),
        (
            "vhost",
            {"vhost:mode": "embedded", "vhost:module": "/x.so"},
            "ini: required outside a release, such as ${ini:path}, but missing",
        ),
    ],
)
def test_a_part_that_could_not_be_used_alone_is_refused(sandbox, part, options, message):
    run = sandbox.buildout({"buildout:parts": part, **options})

    with pytest.raises(UserError) as caught:
        run[part]

    assert str(caught.value).startswith(f"[{part}] {message}")


IN_APACHE = {"buildout:parts": "vhost", "vhost:mode": "embedded", "vhost:ini": "/shop.ini"}


def test_files_that_a_part_alone_names_have_to_be_there(sandbox, tmp_path):
    home = tmp_path / "env"
    make_empty(home, interpreter(), sys.version_info[:2])
    made = site_packages(home) / "PasteDeploy-3.1.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: PasteDeploy\nVersion: 3.1\n")

    with pytest.raises(UserError) as caught:
        sandbox.run({**IN_APACHE, "vhost:module": "/x.so", "vhost:home": str(home)})

    assert str(caught.value) == "[vhost] ini: cannot find /shop.ini; module: cannot find /x.so"


def test_an_environment_that_cannot_load_an_application_is_refused(sandbox):
    run = sandbox.buildout({**IN_APACHE, "vhost:module": "/x.so"})

    with pytest.raises(UserError) as caught:
        run["vhost"]

    assert str(caught.value).startswith(
        "[vhost] home: expected an environment with PasteDeploy, which loads the application, got "
    )


@pytest.mark.parametrize("roles", ["app ini init cron", "ini init cron"])
def test_a_release_has_one_link_to_the_environment(sandbox, roles):
    run = sandbox.run({"site:roles": roles, "ini:secrets": ""})

    link = sandbox.directory / "current" / "shop" / "env"
    assert str(link.readlink()) == run["app"]["home"]
    is_from_app = run["init"].recipe.files[0].path != "shop/env"
    assert is_from_app is roles.startswith("app")


def test_paths_of_the_application_lead_to_files_that_are_there(sandbox):
    app = sandbox.run({"buildout:parts": "app"})["app"]
    assert app["python"] == f"{sandbox.directory}/parts/app/shop/bin/python"
    assert [os.path.exists(app[name]) for name in ("home", "env", "python", "paster")] == [True] * 4

    assert "paster" not in sandbox.run({"buildout:parts": "app", "app:scripts": "shop"})["app"]


def test_a_program_that_is_not_there_is_told(sandbox, caplog):
    sandbox.run({"buildout:parts": "cron", "cron:control": "/nowhere"})

    assert [record.message for record in caplog.records if "nowhere" in record.message] == [
        "[cron] control: /nowhere cannot be run, so nothing restarts the site"
    ]


# Removing a part.


@pytest.mark.parametrize("has_other", [True, False])
def test_a_server_that_runs_is_not_removed(sandbox, has_other):
    alone = sandbox.run({"buildout:parts": "init"})
    script = sandbox.directory / "parts" / "init" / "bin" / "shop"
    script.write_text("#!/bin/sh\nexit 0\n")  # its status: it runs
    other = "[server]\n<= init\n" if has_other else ""
    run = sandbox.buildout({"buildout:parts": "server" if has_other else "ini"}, other)

    if has_other:
        run.install([])
        assert (sandbox.directory / "bin" / "shop").resolve() != script
        return
    options = alone["init"]
    options.buildout = run
    run["ini"]
    with pytest.raises(UserError) as caught:
        init_script.uninstall("init", options)

    assert str(caught.value) == (
        "[init] its server runs, and nothing could stop it without this part: "
        "bin/shop stop; then run buildout again"
    )


@pytest.mark.parametrize(("edited", "left"), [("", "mine\n"), ("# ", None)])
def test_lines_of_a_removed_part_leave_the_crontab(sandbox, crontab, edited, left):
    options = {"buildout:parts": "cron", "cron:target": "crontab", "cron:control": "/bin/true"}
    alone = sandbox.run(options)["cron"]
    lines = f"{edited}*/2 * * * * /bin/true ensure\n"
    before = f"mine\n# BEGIN pylonyard shop\n{lines}# END pylonyard shop\n"
    crontab.write_text(before)

    cron_restart.uninstall("cron", alone)  # a change: the part is in this run
    assert crontab.read_text() == before

    alone.buildout = sandbox.buildout({"buildout:parts": "site"})
    cron_restart.uninstall("cron", alone)
    assert crontab.read_text() == (before if left is None else left)


def test_lines_of_a_part_that_a_release_took_are_told(sandbox, crontab, caplog):
    released = sandbox.run({"cron:target": "crontab"})["cron"]
    crontab.write_text("# BEGIN pylonyard shop\nx\n# END pylonyard shop\n")
    released.buildout = sandbox.buildout({"buildout:parts": "site"})

    cron_restart.uninstall("cron", released)

    command = sandbox.directory / "releases" / "1" / "bin" / "shop-cron"
    output = f"[cron] your crontab still has the lines of shop: {command} remove"
    assert output in [record.message for record in caplog.records]
    assert command.is_file()


@pytest.mark.skipif(os.geteuid() != 0, reason="lacks root, who alone may act as another account")
def test_a_folder_that_the_account_cannot_write_to_is_told(sandbox, caplog):
    log = sandbox.directory / "var" / "log"
    log.mkdir(parents=True)
    options = {"buildout:parts": "init", "init:user": "nobody", "init:log-folder": "var/log"}

    sandbox.run(options)

    output = f"[init] {log} belongs to another account: let nobody write there"
    assert output in [record.message for record in caplog.records]
    assert log.stat().st_uid == 0
