import os
import re
import stat
import uuid

import pytest
from pylonyard.config.secret_store import Origin, SecretError, SecretStore, origin

SECRET = "s3cr%t"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "var" / "secrets" / "shop"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("generate", Origin("generate")),
        ("uuid", Origin("uuid")),
        ("file:/etc/shop.key", Origin("file", "/etc/shop.key")),
        ("env:SHOP_KEY", Origin("env", "SHOP_KEY")),
    ],
)
def test_declaration_says_where_a_secret_comes_from(text, declared):
    assert origin(text) == declared


@pytest.mark.parametrize("text", ["", "s3cret", "file:", "env:", "generate:32", "uuid:x", "FILE:x"])
def test_other_declaration_is_refused(text):
    with pytest.raises(ValueError) as caught:
        origin(text)

    expected = "generate, uuid, file:PATH or env:VARIABLE"
    assert str(caught.value) == f"expected {expected}, got {text!r}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file:~nosuchaccount/x", "expected a path whose account exists, got '~nosuchaccount/x'"),
        ("file:a\0", "expected a path without control characters, got 'a\\x00'"),
        ("env:a\0", "expected one line without control characters, got 'a\\x00'"),
    ],
)
def test_place_that_cannot_be_is_refused(text, message):
    with pytest.raises(ValueError) as caught:
        origin(text)

    assert str(caught.value) == message


def test_generated_secret_is_kept_where_its_owner_alone_reads_it(folder):
    store = SecretStore(folder, {"key": Origin("generate")})

    value = store.value("key")

    assert re.fullmatch("[0-9a-f]{64}", value)
    assert (folder / "key").read_text() == value
    assert (mode(folder), mode(folder / "key")) == (0o700, 0o600)
    assert SecretStore(folder, {"key": Origin("generate")}).value("key") == value


def test_two_secrets_are_not_the_same(folder):
    store = SecretStore(folder, {"a": Origin("generate"), "b": Origin("generate")})

    assert store.value("a") != store.value("b")


def test_uuid_is_one(folder):
    value = SecretStore(folder, {"id": Origin("uuid")}).value("id")

    assert str(uuid.UUID(value)) == value


def test_file_is_read_and_a_change_of_it_is_seen(folder, tmp_path):
    source = tmp_path / "key"
    source.write_text(f"{SECRET}\n")
    store = SecretStore(folder, {"key": Origin("file", str(source))})
    assert store.value("key") == SECRET

    source.write_text("changed")

    assert store.value("key") == "changed"
    assert (folder / "key").read_text() == "changed"


def test_variable_is_read_once_and_kept(folder):
    SecretStore(folder, {"key": Origin("env", "KEY")}, {"KEY": SECRET}).value("key")

    assert SecretStore(folder, {"key": Origin("env", "KEY")}, {}).value("key") == SECRET


def test_references_are_filled_in_as_an_ini_spells_them(folder):
    origins = {"key": Origin("env", "KEY"), "other": Origin("env", "OTHER")}
    store = SecretStore(folder, origins, {"KEY": "a%b/c", "OTHER": "x"})

    text = store.fill("a = <secret:key>\nurl = db://u:<secret:key:url>@h/<secret:other>\n")

    assert text == "a = a%%b/c\nurl = db://u:a%%25b%%2Fc@h/x\n"


def test_only_what_is_referred_to_is_made(folder):
    SecretStore(folder, {"a": Origin("generate"), "b": Origin("generate")}).fill("<secret:b>")

    assert os.listdir(folder) == ["b"]


@pytest.mark.parametrize(
    ("origins", "environ", "message"),
    [
        ({}, {}, "expected declared secrets (), got key"),
        (
            {"b": Origin("uuid"), "a": Origin("uuid")},
            {},
            "expected declared secrets (a, b), got key",
        ),
        (
            {"key": Origin("env", "KEY")},
            {"KEY": ""},
            "key: expected the environment variable KEY, which is not set",
        ),
        (
            {"key": Origin("file", "/nowhere/key")},
            {},
            "key: cannot read /nowhere/key: No such file or directory",
        ),
        ({"key": Origin("file", "/dev/null")}, {}, "key: /dev/null is empty"),
        (
            {"key": Origin("env", "KEY")},
            {"KEY": f"{SECRET}\n[evil]"},
            "a secret has a character that an ini file cannot hold",
        ),
    ],
)
def test_secret_that_cannot_be_read_is_reported_without_showing_one(
    folder, origins, environ, message
):
    with pytest.raises(SecretError) as caught:
        SecretStore(folder, origins, environ).fill("a = <secret:key>")

    assert str(caught.value) == message


def test_file_that_is_not_utf8_is_refused(folder, tmp_path):
    (tmp_path / "key").write_bytes(b"\xff")
    store = SecretStore(folder, {"key": Origin("file", str(tmp_path / "key"))})

    with pytest.raises(SecretError) as caught:
        store.value("key")

    assert str(caught.value) == f"key: cannot read {tmp_path}/key: it is not UTF-8"


def test_variable_that_is_not_utf8_is_refused(folder):
    store = SecretStore(folder, {"key": Origin("env", "KEY")}, {"KEY": "not\udcff"})

    with pytest.raises(SecretError) as caught:
        store.value("key")

    assert str(caught.value) == f"key: cannot keep it in {folder}: it is not UTF-8"


def test_mark_that_an_editor_puts_before_a_file_is_no_part_of_the_secret(folder, tmp_path):
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbfsecret\n")
    store = SecretStore(folder, {"key": Origin("file", str(tmp_path / "key"))})

    assert store.value("key") == "secret"


@pytest.mark.parametrize("name", ["", ".key", "../key", "a/b", "a b", "-k"])
def test_name_has_to_be_one_of_a_file(folder, name):
    with pytest.raises(SecretError) as caught:
        SecretStore(folder, {name: Origin("uuid")})

    assert str(caught.value) == f"expected names of letters, digits, _, . and -, got {name!r}"


def test_folder_that_cannot_be_made_is_one_line(folder, tmp_path):
    (tmp_path / "var").write_text("a file")

    with pytest.raises(SecretError) as caught:
        SecretStore(folder, {"key": Origin("uuid")}).value("key")

    assert str(caught.value) == f"key: cannot keep it in {folder}: Not a directory"


def test_kept_secret_that_is_damaged_is_one_line(folder):
    folder.mkdir(parents=True)
    (folder / "key").write_bytes(b"\xff")

    with pytest.raises(SecretError) as caught:
        SecretStore(folder, {"key": Origin("uuid")}).value("key")

    assert str(caught.value) == f"key: cannot keep it in {folder}: it is not UTF-8"
