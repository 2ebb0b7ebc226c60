import configparser

import pytest
from pylonyard.config.ini import Ini, IniError, Setting, fragment, is_true, overlay

TEXT = """\
# About the shop.
[DEFAULT]
debug = false

; The server.
[server:main]
use = egg:Paste#http
port=5000

[app:main]
use = egg:Shop
set debug = false
Case = kept
"""


def test_text_without_a_change_is_kept_to_the_byte():
    assert str(Ini(TEXT)) == TEXT


def test_value_is_changed_in_its_place_comments_kept():
    config = Ini(TEXT)

    config.set("server:main", "port", "8080")
    config.set("app:main", "use", "egg:Other")

    changed = TEXT.replace("port=5000", "port = 8080").replace("egg:Shop", "egg:Other")
    assert str(config).replace("port=8080", "port = 8080") == changed


def test_new_key_comes_last_in_its_section():
    config = Ini(TEXT)

    config.set("server:main", "host", "127.0.0.1")

    assert str(config) == TEXT.replace("port=5000\n", "port=5000\nhost = 127.0.0.1\n")


def test_new_section_comes_last():
    config = Ini(TEXT)

    config.set("filter:x", "use", "egg:X")
    config.set("filter:x", "more", "1")

    assert str(config) == f"{TEXT}\n[filter:x]\nuse = egg:X\nmore = 1\n"


def test_empty_file_takes_a_section():
    config = Ini("")

    config.set("app:main", "use", "egg:Shop")

    assert str(config) == "[app:main]\nuse = egg:Shop\n"


@pytest.mark.parametrize("value", ["one\ntwo", "\none\ntwo", "a", ""])
def test_value_of_several_lines_is_read_as_it_was_set(value):
    config = Ini(TEXT)

    config.set("app:main", "includes", value)

    assert Ini(str(config)).get("app:main", "includes") == value
    parser = configparser.ConfigParser()
    parser.read_string(str(config))
    assert parser["app:main"]["includes"] == value


def test_settings_are_told_in_order():
    assert list(Ini("[b]\ny = 1\nx = 2\n[a]\nz =\n").settings()) == [
        Setting("b", "y", "1"),
        Setting("b", "x", "2"),
        Setting("a", "z", ""),
    ]


def test_missing_key_is_none_and_may_be_removed():
    config = Ini(TEXT)

    config.remove("app:main", "Case")
    config.remove("app:main", "missing")
    config.remove("missing", "x")

    assert config.get("app:main", "Case") is None
    assert config.get("missing", "x") is None
    assert config.sections() == ["DEFAULT", "server:main", "app:main"]


def test_text_is_set_so_that_pastedeploy_reads_it():
    config = Ini(TEXT)

    config.set_text("app:main", "title", "100%")

    assert config.get("app:main", "title") == "100%%"
    with pytest.raises(ValueError, match="control character"):
        config.set_text("app:main", "title", "a\n[evil]")


@pytest.mark.parametrize("text", ["", "a b", "%", "%(use)s", " a", "a ;b", "# a", "[x]", "é = ☃"])
def test_text_is_read_back_or_refused(text):
    read_back_or_refused(text)


def read_back_or_refused(text):
    config = Ini(TEXT)
    try:
        config.set_text("app:main", "title", text)
    except ValueError:
        assert text != text.strip() or " ;" in text
        return
    parser = configparser.ConfigParser()
    parser.read_string(str(config))
    assert parser["app:main"]["title"] == text
    assert parser["app:main"]["use"] == "egg:Shop"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = b", "File contains no section headers. line: 1 'a = b'"),
        ("[a]\nb", "Source contains parsing errors: [line 2]: 'b'"),
        ("[a]\nb\nc=1", "Source contains parsing errors: [line 2]: 'b'"),
        ("[a]\n'b\" c", "Source contains parsing errors: [line 2]: '\\'b\" c'"),
        ("[a]\n[b]\n[a]\n", "[line 3]: section 'a' already exists"),
        ("[DEFAULT]\n[DEFAULT]\n", "[line 2]: section 'DEFAULT' already exists"),
        ("[a]\nx=1\nx=2", "[line 3]: option 'x' in section 'a' already exists"),
    ],
)
def test_text_that_is_no_ini_is_refused_with_its_line(text, message):
    with pytest.raises(IniError) as caught:
        Ini(text)

    assert str(caught.value) == message


def test_fragment_is_laid_over_an_ini():
    config = Ini(TEXT)

    overlay(config, fragment("[app:main]\nCase = changed\n[new]\na = %(here)s\n"))

    assert config.get("app:main", "Case") == "changed"
    assert config.get("new", "a") == "%(here)s"


def test_true_is_what_pastedeploy_takes_for_it():
    assert all(map(is_true, ("true", " Yes ", "ON", "y", "T", "1")))
    assert not any(map(is_true, ("false", "", "2", "%(debug)s")))


def test_section_of_a_fragment_may_begin_again():
    text = "[app:main]\na = 1\n[app:main]\nb = 2"

    assert fragment(text) == [Setting("app:main", "a", "1"), Setting("app:main", "b", "2")]
