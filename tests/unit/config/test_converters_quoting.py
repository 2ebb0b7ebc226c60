import configparser
import doctest
import shlex
import subprocess

import pytest
from pylonyard.config import converters
from pylonyard.watchers.cron import crontab_command
from pylonyard.watchers.logrotate import logrotate_path
from pylonyard.webservers.apache.config_lint import apache

# system/test_any_text.py makes up many more.
TEXTS = [
    "",
    "shop",
    "a b",
    " a",
    "a ",
    "it's",
    '"',
    "a\\",
    '\\"',
    "\\\\",
    "$HOME `id` $(id)",
    "${HOME}",
    "%",
    "%%",
    "\\%",
    "a%(here)s%b",
    "a ;b",
    "#a",
    "; a",
    "[a]",
    "a = b: c",
    "!*?~&|<>(){}",
    "-n",
    "\u00e9\u2603\U0001f40d",
    "\u00a0a",
]


def test_examples_of_the_documentation_hold():
    assert doctest.testmod(converters).failed == 0


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        (apache, "Apache's configuration"),
        (converters.sh, "a shell script of ours"),
        (crontab_command, "a crontab"),
        (converters.ini, "an ini file"),
        (logrotate_path, "a logrotate file"),
    ],
)
@pytest.mark.parametrize("control", ["\n", "\r", "\0", "\t", "\x1b", "\x7f"])
def test_control_characters_are_refused(syntax, name, control):
    text = f"a{control}b"

    with pytest.raises(ValueError) as caught:
        syntax(text)

    assert str(caught.value) == f"{text!r} has a control character, which {name} cannot hold"


def read_by_apache(text):
    """Read one argument as Apache's ``ap_getword_conf`` does."""
    assert text[0] == text[-1] == '"'
    word, rest = "", iter(text[1:-1])
    for character in rest:
        assert character != '"', "the argument ends here"
        word += next(rest) if character == "\\" else character
    return word


def apache_reads_what_was_meant(text):
    if "${" in text:
        with pytest.raises(ValueError) as caught:
            apache(text)
        assert str(caught.value) == f"{text!r} has ${{, which Apache would expand"
    else:
        assert read_by_apache(apache(text)) == text


def sh_reads_one_word(text):
    assert shlex.split(converters.sh(text)) == [text]


def test_real_sh_reads_what_was_meant():
    words = [
        "a b",
        "it's",
        '"',
        "$HOME",
        "`id`",
        "\\",
        "*",
        "~",
        "-n",
        "",
        "!",
        "é☃",
        "a;b",
        "$(id)",
    ]
    script = "printf '%s\\n' " + " ".join(map(converters.sh, words))

    printed = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout

    assert printed.decode().splitlines() == words


def read_by_cron(text):
    """Read a command as cron's ``do_command`` does; the rest is standard input."""
    command, escaped = "", False
    for character in text:
        if escaped and character == "%":
            command = command[:-1] + character
        elif character == "%":
            break
        else:
            command += character
        escaped = character == "\\" and not escaped
    return command


def cron_runs_the_whole_command(text):
    if "\\" in text:
        with pytest.raises(ValueError) as caught:
            crontab_command(text)
        assert str(caught.value) == f"{text!r} has a backslash, which cron takes for its own"
    else:
        assert read_by_cron(crontab_command(text)) == text


def test_command_that_cron_would_not_take_whole_is_refused():
    assert crontab_command("x" * 900) == "x" * 900

    with pytest.raises(ValueError) as caught:
        crontab_command("x" * 901)

    assert str(caught.value) == "a command of 901 characters is too long for cron (900)"


def ini_value_survives_the_parser(text):
    try:
        spelled = converters.ini(text)
    except ValueError as error:
        assert text != text.strip() or " ;" in text
        assert str(error) == f"{text!r} has edge white space or ' ;', which an ini file loses"
        return
    parser = configparser.ConfigParser()
    parser.read_string(f"[app:main]\nkey = {spelled}\n")

    assert parser["app:main"]["key"] == text


CHECKS = [
    apache_reads_what_was_meant,
    sh_reads_one_word,
    cron_runs_the_whole_command,
    ini_value_survives_the_parser,
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("check", CHECKS)
def test_text_means_itself_or_is_refused(check, text):
    check(text)


@pytest.mark.parametrize("text", [" a", "a ", "a ;b", "\u00a0a"])
def test_ini_value_that_python_2_would_lose_is_refused(text):
    with pytest.raises(ValueError, match="which an ini file loses"):
        converters.ini(text)


@pytest.mark.parametrize(
    ("around", "spelled"), [("", "100%25"), ("sqlite:///a", "100%25"), ("%(name)s/", "100%%25")]
)
def test_percent_is_doubled_for_python_2_only_where_that_looks_for_it(around, spelled):
    assert converters.ini_python2("100%25", around) == spelled
    assert converters.ini("100%25", around) == "100%%25"


@pytest.mark.parametrize("text", ["%(here)s", "%%(x)s", '""'])
def test_value_that_python_2_would_expand_in_any_form_is_refused(text):
    with pytest.raises(ValueError, match="which Python 2 would expand"):
        converters.ini_python2(text)


def test_values_that_are_no_texts_are_spelled_by_str():
    assert (apache(80), converters.sh(80), converters.ini(80)) == ('"80"', "80", "80")
