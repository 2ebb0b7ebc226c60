import json
from pathlib import Path

import pytest
from pylonyard.server.settings import load, parse
from pylonyard.system.errors import ServerError

SOURCE = Path("/srv/shop/current/shop/server.json")
VALUES = {
    "name": "shop",
    "sandbox": "/srv/shop",
    "paster": "/srv/shop/bin/paster",
    "ini": "/srv/shop/production.ini",
    "port": 8080,
    "log": "/srv/shop/var/log/shop-server.log",
    "application-log": "/srv/shop/var/log/shop.log",
    "run": "/srv/shop/var/run",
    "data": "/srv/shop/var/data/shop",
}


def test_settings_are_typed_and_have_defaults():
    settings = parse({**VALUES, "umask": "027", "shell": ["/bin/sh", "-l"]}, SOURCE)

    assert settings.paster == Path("/srv/shop/bin/paster")
    assert (settings.umask, settings.start_timeout) == (0o027, 60)
    assert settings.shell == ("/bin/sh", "-l")
    assert settings.user == ""
    assert settings.identity == "/srv/shop:shop"


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:8080/"), ("::1", "http://[::1]:8080/")],
)
def test_address_is_an_url(host, address):
    assert parse({**VALUES, "host": host}, SOURCE).address == address


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"name": "../x"}, "name: expected letters, digits and .-_, got '../x'"),
        ({"ini": "x.ini"}, "ini: expected an absolute path, got 'x.ini'"),
        ({"port": "80"}, "port: expected a number from 1 to 65535, got '80'"),
        ({"port": 70000}, "port: expected a number from 1 to 65535, got 70000"),
        ({"stop-timeout": True}, "stop-timeout: expected a number above 0, got True"),
        ({"umask": "9"}, "umask: expected octal digits, got '9'"),
        ({"reload": "no"}, "reload: expected true or false, got 'no'"),
        ({"shell": "sh"}, "shell: expected a list of words, got 'sh'"),
        ({"setup": [1]}, "setup: expected a text, got 1"),
        ({"environment": []}, "environment: expected names and values, got []"),
        ({"check-path": "x"}, "check-path: expected the path of an URL, got 'x'"),
        ({"check-path": "/a b"}, "check-path: expected the path of an URL, got '/a b'"),
        (
            {"user": "a\0b", "umask": 22},
            "user: expected a text, got 'a\\x00b'; umask: expected octal digits, got 22",
        ),
    ],
)
def test_every_bad_setting_is_named(values, problem):
    with pytest.raises(ServerError) as caught:
        parse({**VALUES, **values}, SOURCE)

    assert (str(caught.value), caught.value.code) == (f"{SOURCE}: {problem}", 6)


def test_missing_settings_are_all_named():
    with pytest.raises(ServerError) as caught:
        parse({name: VALUES[name] for name in VALUES if name not in ("ini", "port")}, SOURCE)

    missing = "ini: required, but missing; port: required, but missing"
    assert str(caught.value) == f"{SOURCE}: {missing}"


def test_file_is_loaded(tmp_path):
    source = tmp_path / "server.json"
    source.write_text(json.dumps(VALUES))

    assert load(source) == parse(VALUES, source)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read {0}: No such file or directory"),
        (
            "{",
            "{0}: expected a JSON object, got other text: Expecting property name "
            "enclosed in double quotes",
        ),
        ("[]", "{0}: expected a JSON object, got a list"),
    ],
)
def test_unusable_file_is_one_line(tmp_path, content, message):
    source = tmp_path / "server.json"
    if content is not None:
        source.write_text(content)

    with pytest.raises(ServerError) as caught:
        load(source)

    # Where in the file JSON goes wrong is worded differently by each Python.
    assert str(caught.value).partition(": line")[0] == message.format(source)
    assert caught.value.code == 6
