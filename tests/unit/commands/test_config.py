import io
import json
from pathlib import Path

import pytest
from pylonyard.commands import config, main
from pylonyard.config import layout
from support import reset_buildout
from zc.buildout import configparser

BASE = """\
[buildout]
parts = app
find-links = https://me:hunter22@index.example/simple/?token=abcdef1

[app]
recipe = pylonyard:pylons_app
eggs =
    one
    two

[common]
sources = src
    src/more
eggs = none

[versions:python2]
six = 1.0
[versions:python3]
six = 1.17.0
"""

TOP = """\
[buildout]
extends = base.cfg

[app]
<= common
# a comment
eggs += three
eggs -= one
home = ${buildout:directory}/x

[ini]
settings =
    [app:main]
    word = a

    [other]
    word = b
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BUILDOUT_HOME", str(tmp_path / "home"))
    (tmp_path / "base.cfg").write_text(BASE)
    (tmp_path / "buildout.cfg").write_text(TOP)
    with reset_buildout():
        yield tmp_path


def run(place, *words):
    return main.main(str(place), str(place / "bin"), ["config", *words])


def config_output(place, capsys, *words):
    assert run(place, *words) == 0
    return capsys.readouterr().out


def listed(place, capsys, *words):
    """Return each option of a listing with its origin."""
    found, section = {}, ""
    lines = config_output(place, capsys, *words).splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        section = line[1:-1] if line.startswith("[") else section
        if before.startswith("# "):
            found[section, line.partition(" =")[0]] = before[2:]
    return found


def test_a_section_is_shown_with_the_place_of_each_value(place, capsys):
    assert config_output(place, capsys, "app") == (
        "[app]\n"
        "# base.cfg, line 12 [common]\n"
        "sources =\n    src\n    src/more\n"
        "# base.cfg, line 7; += buildout.cfg, line 7; -= buildout.cfg, line 8\n"
        "eggs =\n    two\n    three\n"
        "# base.cfg, line 6\n"
        "recipe = pylonyard:pylons_app\n"
        "# buildout.cfg, line 9\n"
        "home = ${buildout:directory}/x\n"
    )


def test_all_sections_are_shown_as_a_file_that_says_the_same(place, capsys):
    text = config_output(place, capsys)

    read = configparser.parse(io.StringIO(text), "shown")
    merged = config.Merged(config.read("buildout.cfg"))
    expected = {
        name: {option: value.text for option, value in merged.section(name).items()}
        for name in merged.names
    }
    assert read == expected
    assert read["ini"]["settings"] == "[app:main]\nword = a\n\n[other]\nword = b"


def test_what_stands_in_no_file_is_called_so(place, capsys):
    found = listed(place, capsys, "site:port=81", "offline=true")

    assert found["site", "port"] == found["buildout", "offline"] == "command line"
    assert found["buildout", "directory"] == "computed"
    assert found["buildout", "eggs-directory"] == "default"
    assert found["versions", "six"] == "base.cfg, line 19"


def test_the_profile_beneath_and_the_user_s_defaults_are_told_apart(place, capsys):
    (place / "home").mkdir()
    (place / "home" / "default.cfg").write_text("[site]\nenvironment = staging\nport = 1\n")
    (place / "buildout.cfg").write_text(
        "[buildout]\nextensions = pylonyard\n[site]\nport = 82\n[app]\neggs += six\n"
    )
    lines = layout.profile().read_text().splitlines()
    at = {line: number for number, line in enumerate(lines, 1)}

    found = listed(place, capsys)

    assert found["site", "server-name"] == (
        f"profile base.cfg, line {at['server-name = localhost']}"
    )
    assert found["site", "environment"] == "home/default.cfg, line 2"
    assert found["site", "port"] == "buildout.cfg, line 4"
    assert found["app", "eggs"] == (
        f"profile base.cfg, line {at['eggs =']}; += buildout.cfg, line 6"
    )
    assert found["versions", "waitress"].startswith("profile versions-server.cfg, line ")


def test_an_option_is_its_value_alone_and_where_it_stands_beside_it(place, capsys):
    assert run(place, "app:eggs") == 0

    assert capsys.readouterr() == (
        "two\nthree\n",
        "# base.cfg, line 7; += buildout.cfg, line 7; -= buildout.cfg, line 8\n",
    )


def test_programs_get_value_and_origins(place, capsys):
    found = json.loads(config_output(place, capsys, "app:sources", "--json"))

    assert found == {
        "version": 1,
        "sections": {
            "app": {
                "sources": {
                    "value": "src\nsrc/more",
                    "origins": [
                        {
                            "operation": "=",
                            "kind": "file",
                            "file": str(place / "base.cfg"),
                            "line": 12,
                            "section": "common",
                        }
                    ],
                }
            }
        },
    }


def test_passwords_in_addresses_are_masked_everywhere(place, capsys):
    masked = "https://me:<masked 1>@index.example/simple/?token=<masked 2>"

    assert config_output(place, capsys, "buildout:find-links") == f"{masked}\n"
    for words in ([], ["--json"], ["buildout"]):
        text = config_output(place, capsys, *words)
        assert masked in text
        assert "hunter22" not in text and "abcdef1" not in text


def test_another_file_is_named_as_for_buildout(place, capsys):
    assert config_output(place, capsys, "-c", "base.cfg", "common:eggs") == "none\n"
    (place / ".pylonyard").mkdir()
    (place / ".pylonyard" / "sandbox.json").write_text(
        '{"version": 1, "configuration": "base.cfg"}'
    )
    assert run(place, "ini") == 1
    assert "there is no section [ini]" in capsys.readouterr().err


def test_nothing_is_made(place, capsys):
    before = sorted(place.rglob("*"))

    config_output(place, capsys)

    assert sorted(place.rglob("*")) == before


SITES = """
[site]
recipe = pylonyard:site
name = shop
eggs = shop

[blog]
<= site
name = blog

[blog-ini]
settings +=
    [app:main]
    word = c
debug = ${ini:settings}

[ini]
title = ${site:name}, ${app:home}
"""


def test_the_sections_of_a_further_site_are_shown_with_their_origins(place, capsys):
    config_file = place / "buildout.cfg"
    config_file.write_text(config_file.read_text() + SITES)
    lines = config_file.read_text().splitlines()
    at = {line: number for number, line in enumerate(lines, 1)}

    assert config_output(place, capsys, "blog-ini").splitlines() == [
        "[blog-ini]",
        f"# buildout.cfg, line {at['settings =']} [ini]; += buildout.cfg, line {at['settings +=']}",
        "settings =",
        "    [app:main]",
        "    word = a",
        "",
        "    [other]",
        "    word = b",
        "    [app:main]",
        "    word = c",
        f"# buildout.cfg, line {at['title = ${site:name}, ${app:home}']} [ini]",
        "title = ${blog:name}, ${blog-app:home}",
        f"# buildout.cfg, line {at['debug = ${ini:settings}']}",
        "debug = ${ini:settings}",
    ]
    app = listed(place, capsys, "blog-app")
    assert app["blog-app", "sources"] == "base.cfg, line 12 [common]"
    assert app["blog-app", "recipe"] == "base.cfg, line 6 [app]"
    every = config_output(place, capsys)
    assert [every.count(f"\n[{name}]\n") for name in ("blog-app", "blog-ini")] == [1, 1]


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        (TOP, ["ap"], "there is no section [ap]; did you mean app?"),
        (
            TOP + SITES,
            ["blog-inj"],
            "there is no section [blog-inj]; did you mean blog-ini?",
        ),
        (TOP, ["app:source"], "there is no option source in [app]; did you mean sources?"),
        (
            TOP,
            ["app:python"],
            "there is no option python in [app]: it is set nowhere, so the default of the recipe "
            "holds",
        ),
        (TOP, ["-c", "bas.cfg"], "there is no configuration {0}/bas.cfg; did you mean base.cfg?"),
        (
            "[buildout\nparts =\n",
            [],
            "buildout.cfg, line 1: expected [section], got '[buildout', which has no closing "
            "bracket",
        ),
        (
            "[buildout]\nparts =\nx\n",
            [],
            "buildout.cfg, line 3: expected [section] or option = value, got 'x'",
        ),
        (
            "[buildout]\nextends = bse.cfg\n",
            [],
            "buildout.cfg, line 2: extends: cannot extend bse.cfg: No such file or directory; "
            "did you mean base.cfg?",
        ),
        (
            "[buildout]\noffline = maybe\n",
            [],
            "buildout.cfg, line 2: [buildout] offline: expected true or false, got 'maybe'",
        ),
        (
            "[a]\n<= commn\n[common]\nx = 1\n",
            ["a"],
            "buildout.cfg, line 2: [a] <: there is no section [commn]; did you mean common?",
        ),
        (
            "[a]\n<= b\n[b]\n<= a\n",
            ["a"],
            "buildout.cfg, line 2: [a] <: it extends itself, by a <= b <= a",
        ),
    ],
)
def test_what_cannot_be_shown_is_one_line(place, capsys, text, words, line):
    (place / "buildout.cfg").write_text(text)

    assert run(place, *words) == 1

    assert capsys.readouterr() == ("", f"pylonyard: {line.format(place)}\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["app", "ini"], "unknown argument ini; see pylonyard config --help"),
        (["app:a:b"], "app:a:b: expected SECTION:OPTION; see pylonyard config --help"),
        (["a:b:c=d"], "a:b:c=d: expected SECTION:OPTION=VALUE; see pylonyard config --help"),
    ],
)
def test_a_wrong_command_line_is_named(place, capsys, words, line):
    with pytest.raises(SystemExit) as ended:
        run(place, *words)

    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"pylonyard: {line}\n")


def test_a_missing_default_file_is_one_line(place, capsys):
    Path("buildout.cfg").unlink()

    assert run(place) == 1

    assert capsys.readouterr().err == f"pylonyard: there is no configuration {place}/buildout.cfg\n"


def test_an_error_masks_the_password_of_an_address_too(place, capsys):
    extends = "extends = http://127.0.0.1:1/x.cfg?token=hunter22"
    Path("buildout.cfg").write_text(f"[buildout]\n{extends}\n")

    assert run(place) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "pylonyard: Error downloading extends for URL http://127.0.0.1:1/x.cfg?token=<masked 1>"
    )
    assert "hunter22" not in line
