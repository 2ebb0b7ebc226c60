"""Setting up a site."""

import configparser
from pathlib import Path
from types import SimpleNamespace

import pytest
from paste.deploy import loadapp
from sqlalchemy import create_engine, text

from simplesite import main
from simplesite.pageform import slug_from
from simplesite.passwords import hash_password, password_matches
from simplesite.settings import SettingsError, read_settings
from simplesite.websetup import Installer, setup_app


def contents(conf):
    """Return all rows of the database."""
    engine = create_engine(conf["sqlalchemy.url"])
    with engine.connect() as connection:
        rows = [
            connection.execute(text(f"SELECT * FROM {table}")).all()
            for table in ("page", "editor", "comment")
        ]
    engine.dispose()
    return rows


def installer():
    """Return the installer as PasteScript makes it."""
    return Installer(None, "paste.app_factory", "main")


def test_second_setup_changes_nothing(conf, capsys):
    setup_app(None, conf, {})
    before = contents(conf)
    setup_app(None, {**conf, "simplesite.editor_password": "quite another"}, {})
    assert contents(conf) == before
    assert capsys.readouterr().out == ""


def test_made_up_password_is_printed_once(conf, capsys):
    del conf["simplesite.editor_password"]
    setup_app(None, {**conf, "simplesite.editor": "ann"}, {})
    line = capsys.readouterr().out
    assert line.startswith("The first editor signs in as ann / ") and line.count("\n") == 1
    assert password_matches(line.split(" / ")[1].strip(), contents(conf)[1][0].password_hash)


def test_password_comes_from_a_file(conf, tmp_path: Path):
    file = tmp_path / "password"
    file.write_text("from the file\n")
    setup_app(None, {**conf, "simplesite.editor_password_file": str(file)}, {})
    assert password_matches("from the file", contents(conf)[1][0].password_hash)


@pytest.mark.parametrize(
    ("name", "value"),
    [("simplesite.editor_password", "short"), ("simplesite.editor_password_file", "/none")],
)
def test_unusable_password_is_refused(conf, name, value):
    with pytest.raises(SettingsError, match="password"):
        setup_app(None, {**conf, name: value}, {})


def test_config_keeps_given_values():
    given = {"app_instance_uuid": "1234", "app_instance_secret": "a secret with 100% $igns"}
    parser = configparser.ConfigParser(defaults={"here": "/srv"})
    parser.read_string(installer().config_content(None, given))
    section = parser["app:main"]
    assert section["app_instance_uuid"] == "1234"
    assert section["simplesite.secret"] == "a secret with 100% $igns"
    assert section["sqlalchemy.url"] == "sqlite:////srv/simplesite.db"


def test_config_makes_up_values_that_are_not_given():
    first, second = (installer().config_content(None, {}) for _ in range(2))
    assert isinstance(first, str) and first != second and "${" not in first


def test_config_is_set_up_and_loaded_by_paste_deploy(tmp_path: Path):
    config = tmp_path / "production.ini"
    command = SimpleNamespace(ensure_file=lambda name, data: Path(name).write_bytes(data))
    installer().write_config(command, str(config), {"app_instance_secret": "100% secret enough"})
    installer().setup_config(None, str(config), "app:main", {})
    assert (tmp_path / "simplesite.db").exists()
    application = loadapp(f"config:{config}")
    assert application._application.registry["sessions"]


def test_existing_config_is_left_alone(tmp_path: Path, capsys):
    config = tmp_path / "production.ini"
    config.write_text("mine")
    installer().write_config(None, str(config), {})
    assert config.read_text() == "mine" and "is there already" in capsys.readouterr().out


def test_setup_names_the_file_with_the_mistake(tmp_path: Path):
    config = tmp_path / "production.ini"
    config.write_text("[app:main]\nuse = egg:pylonyard-simplesite\n")
    with pytest.raises(SystemExit, match=r"production.ini: sqlalchemy.url is missing"):
        installer().setup_config(None, str(config), "app:main", {})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("simplesite.secret", "", "missing"),
        ("simplesite.secret", "fifteen charact", "too short"),
        ("sqlalchemy.url", "", "missing"),
        ("debug", "perhaps", "must be true or false"),
    ],
)
def test_site_does_not_start_with_unusable_settings(conf, name, value, message):
    with pytest.raises(SettingsError, match=message):
        main({}, **{**conf, name: value})


def test_mail_settings(conf):
    assert read_settings(conf).mail is None
    mail = read_settings({**conf, "email_to": "a@x.org, b@x.org", "smtp_server": "m:2525"}).mail
    assert mail is not None and mail.recipients == ("a@x.org", "b@x.org")
    assert (mail.host, mail.port) == ("m", 2525)


def test_same_password_has_two_hashes():
    assert hash_password("secret") != hash_password("secret")


def test_slugs():
    assert slug_from("  Größe & Ähnliches: it's 2x!  ") == "groe-ahnliches-its-2x"
