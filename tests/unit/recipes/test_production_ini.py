import configparser
import os
import stat
from pathlib import Path

import pytest
from pylonyard.config.ini import Ini
from pylonyard.config.layout import page
from pylonyard.environments import scripts
from pylonyard.recipes.ini_options import settings_fragment
from pylonyard.recipes.production_ini import database_digest
from support import SHOP_INI
from zc.buildout import UserError


def read(text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    return parser


@pytest.fixture
def ini(sandbox, monkeypatch):
    """Return a function: options of [ini] -> the recipe, made by a real buildout.

    The environment has Paste, whose server the template names.
    """
    installed = scripts.distributions
    monkeypatch.setattr(scripts, "distributions", lambda home: {"paste": None, **installed(home)})

    def make(**options):
        texts = {f"ini:{name.replace('_', '-')}": value for name, value in options.items()}
        return sandbox.buildout(texts)["ini"].recipe

    return make


def test_template_becomes_the_ini_of_the_site(ini, sandbox):
    recipe = ini(port="8081", threads="2")
    (artifact,) = recipe.artifacts()

    assert artifact.path == "shop/production.ini"
    assert artifact.text.startswith("# The shop's own template.\n")
    config = read(artifact.text)
    assert config["server:main"]["port"] == "8081"
    assert config["app:main"]["use"] == "egg:Shop"
    assert recipe.published()["path"] == sandbox.directory / "current/shop/production.ini"
    assert recipe.published()["setup"] == "false"


def test_pastes_server_outside_development_is_warned_of(ini, caplog):
    ini(environment="staging")
    ini(environment="staging", server="egg:waitress#main")
    ini(environment="staging", mode="mod_wsgi")

    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage() == (
        "[ini] Paste's server is for development: a client that sends slowly keeps a thread, "
        "unless a web server is in front; to use another one: server = egg:waitress#main"
    )


def test_server_that_others_reach_believes_no_header(ini, caplog):
    own = read(ini().text)
    open_to_all = read(ini(host="0.0.0.0").text)

    assert own["filter-app:pylonyard-served"]["next"] == "main"
    assert "filter-app:pylonyard-served" not in open_to_all
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage().startswith("[ini] the server does not learn from a web server who")


def test_site_that_would_get_another_server_is_told_how_to_keep_it(ini, sandbox, caplog):
    caplog.set_level("INFO")
    live = sandbox.directory / "current/shop/production.ini"
    live.parent.mkdir(parents=True)
    live.write_text("[server:main]\nuse = egg:waitress#main\n")

    ini()

    assert (
        "[ini] shop: the next release runs egg:Paste#http, as its template says, in place of "
        "egg:waitress#main; to keep that: [ini] server = egg:waitress#main"
    ) in [each.getMessage() for each in caplog.records]


def test_settings_may_say_what_is_served(ini, tmp_path):
    template = tmp_path / "two.ini"
    template.write_text("[app:a]\nuse = egg:Shop\n[app:b]\nuse = egg:Shop\ndebug = true\n")

    config = read(ini(template=str(template), settings="[composite:main]\nuse = b").text)

    assert (config["composite:main"]["use"], config["app:b"]["debug"]) == ("b", "false")


def test_data_stands_outside_the_release(ini, sandbox):
    config = read(ini().text)

    database = f"sqlite:///{sandbox.directory}/var/data/shop/shop.db"
    assert config["app:main"]["sqlalchemy.url"] == database
    assert "%(here)s" not in ini().text


def test_settings_are_laid_over_all_options(ini):
    config = read(
        ini(
            port="8081",
            settings="[server:main]\nport = 1\n[app:main]\ncache = %(here)s/cache\nnew = 100%%",
        ).text
    )

    assert config["server:main"]["port"] == "1"
    assert config["app:main"]["cache"].endswith("/var/data/shop/cache")
    assert config["app:main"]["new"] == "100%%"


@pytest.fixture
def python2(tmp_path):
    """Return a home as of a Python 2 sandbox, in which nothing is installed."""
    (tmp_path / "home/lib/python2.7/site-packages").mkdir(parents=True)
    return str(tmp_path / "home")


def test_percent_that_is_written_as_two_is_no_variable(ini, sandbox):
    config = read(ini(settings="[app:main]\nk = %%(here)s, %%%(here)s").text)

    assert config["app:main"]["k"] == f"%%(here)s, %%{sandbox.directory}/var/data/shop"


def test_values_are_spelled_for_the_python_that_reads_them(ini, python2, monkeypatch):
    monkeypatch.setenv("PASSWORD", "p@ss%word")
    options = {"secrets": "key = env:PASSWORD", "database_url": "pg://a:<secret:key:url>@db"}
    options["settings"] = "[app:main]\nk = %(a)s <secret:key>\na = 1"

    assert read(ini(**options).text)["app:main"]["sqlalchemy.url"] == "pg://a:p%%40ss%%25word@db"
    config = read(ini(home=python2, **options).text)
    assert config["app:main"]["sqlalchemy.url"] == "pg://a:p%40ss%25word@db"
    assert config["app:main"]["k"] == "%(a)s p@ss%%word"


def test_value_that_python_2_would_read_differently_is_refused(ini, python2):
    with pytest.raises(UserError, match="expected no other % beside %\\(here\\)s"):
        ini(home=python2, settings="[app:main]\nk = %(here)s/100%%")
    with pytest.raises(ValueError, match="white space but blanks around names and values"):
        settings_fragment("[app:main]\nk = a\u00a0\n  b")


@pytest.mark.system
def test_secret_stands_in_the_ini_and_its_file_alone(sandbox):
    buildout = sandbox.run(
        {"ini:secrets": "key = generate", "ini:settings": "[app:main]\nk = <secret:key>"}
    )
    secret = (sandbox.directory / "var/secrets/shop/key").read_text()

    holders = {
        Path(name).relative_to(sandbox.directory).as_posix()
        for name, (_, content) in sandbox.snapshot().items()
        if isinstance(content, bytes) and secret.encode() in content
    }
    assert holders == {
        "var/secrets/shop/key",
        "parts/ini/shop/production.ini",
        "releases/1/shop/production.ini",
    }
    assert all(secret not in value for part in buildout for value in buildout[part].values())


def test_nobody_else_reads_the_ini(ini):
    (artifact,) = ini().artifacts()

    assert stat.S_IMODE(artifact.mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root serves as another account")
def test_group_of_the_account_reads_the_ini(sandbox):
    buildout = sandbox.buildout({"site:user": "nobody"})
    (artifact,) = buildout["ini"].recipe.artifacts()

    assert artifact.mode == 0o640


def test_debug_is_allowed_in_development(sandbox):
    buildout = sandbox.buildout({"site:environment": "development", "ini:debug": "true"})

    assert read(buildout["ini"].recipe.text)["DEFAULT"]["debug"] == "true"


def test_digest_differs_for_other_databases_and_has_no_secrets():
    def digest(text):
        return database_digest(Ini(text), "app:main")

    one = digest("[app:main]\nsqlalchemy.url = db://u:<secret:p:url>@h/one\n")
    assert digest("[app:main]\nx = 1\nsqlalchemy.url = db://u:<secret:p:url>@h/one\n") == one
    assert digest("[app:main]\nsqlalchemy.url = db://u:<secret:p:url>@h/two\n") != one
    assert digest("[DEFAULT]\nx = db://h\n[app:main]\n") != digest("[app:main]\n")
    assert digest("[other]\nx = db://h\n[app:main]\n") == digest("[app:main]\n")


def test_same_section_gives_the_same_text(ini):
    assert ini().text == ini().text


def test_skeleton_of_the_support_is_what_tests_say():
    assert Ini(SHOP_INI).get("server:main", "port") == "5000"


OPEN_URL = "postgresql://shop:hunter2@db/shop"
IN_URL = (
    "database-url: expected no password in plain text, as anybody may read .installed.cfg; put "
    "it into a file of your own and declare that: secrets = database-password = file:PATH, with "
    "<secret:database-password:url> in its place ({})"
)


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_password_in_a_url_is_refused(ini, environment):
    with pytest.raises(UserError) as caught:
        ini(database_url=OPEN_URL, environment=environment)

    assert str(caught.value) == f"[ini] {IN_URL.format(page('Secrets'))}"


def test_password_in_a_url_is_warned_of_in_development(ini, caplog):
    config = read(ini(database_url=OPEN_URL, environment="development").text)

    assert config["app:main"]["sqlalchemy.url"] == OPEN_URL
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage() == f"[ini] {IN_URL.format(page('Secrets'))}"


def test_secret_of_a_template_is_warned_of(ini, caplog, tmp_path):
    template = tmp_path / "old.ini"
    template.write_text(f"{SHOP_INI}api_key = hunter2\nother.password = hunter2\n")
    section = Ini(template.read_text()).sections()[-1]

    secret = "<secret:app_instance_secret>"
    ini(template=str(template), settings=f"[{section}]\nother.password = {secret}")

    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage() == (
        f"[ini] template {template}: [{section}] api_key: expected no plain secret, which "
        "others may read; put it into a file of your own and declare that: secrets = api-key = "
        f"file:PATH, with <secret:api-key> in its place ({page('Secrets')})"
    )


def test_server_of_a_template_that_nothing_installs_gives_way_to_ours(ini, sandbox, caplog):
    template = sandbox.directory / "gears.ini"
    template.write_text("[server:main]\nuse = egg:gearbox#wsgiref\n[app:main]\nuse = egg:Shop\n")

    written = read(ini(template=str(template)).text)

    assert written["server:main"]["use"] == "egg:waitress#main"
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage() == (
        f"[ini] template {template} names egg:gearbox#wsgiref, which is not installed; "
        "add gearbox to eggs, or set server; until then egg:waitress#main"
    )
