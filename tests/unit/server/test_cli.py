import json
import os
import subprocess
import sys
from pathlib import Path

import pylonyard
import pytest
from pylonyard.server import cli
from pylonyard.system.errors import ServerError

from tests.unit.server.test_settings import VALUES

RECIPES = str(Path(pylonyard.__file__).parent.parent)


@pytest.fixture
def source(tmp_path):
    """A site whose directories are there, and whose server is not."""
    names = ("sandbox", "paster", "ini", "log", "application-log", "run", "data")
    paths = {name: str(tmp_path / name) for name in names}
    source = tmp_path / "shop" / "server.json"
    source.parent.mkdir()
    source.write_text(json.dumps({**VALUES, **paths}))
    return source


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["status"], 3, "shop: stopped\n", ""),
        (["stop"], 0, "shop: not running\n", ""),
        (["ensure"], 0, "", ""),
        (["reload"], 3, "", "shop: cannot reload, use restart\n"),
        (["shell"], 6, "", "shop: no shell is configured\n"),
        (
            ["setup"],
            6,
            "",
            "shop: the application has no installer (entry point of the group paste.app_install), "
            "so there is nothing to set up\n",
        ),
        (["start"], 5, "", "shop: cannot run {0}/paster: run bin/buildout\n"),
        (["restart"], 5, "", "shop: cannot run {0}/paster: run bin/buildout\n"),
        (["fg"], 5, "", "shop: cannot run {0}/paster: run bin/buildout\n"),
    ],
)
def test_every_outcome_is_one_line(source, tmp_path, capsys, words, code, out, err):
    assert cli.main(source, words) == code
    assert capsys.readouterr() == (out, err.format(tmp_path))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "shop: expected ACTION; see shop --help\n"),
        (["strat"], "shop: unknown action strat; did you mean start? See shop --help\n"),
        (["foo"], "shop: unknown action foo; see shop --help\n"),
        (["--foo"], "shop: unknown option --foo; see shop --help\n"),
        (["start", "now"], "shop: unknown argument now; see shop start --help\n"),
        (
            ["status", "--jsn"],
            "shop: unknown option --jsn; did you mean --json? See shop status --help\n",
        ),
    ],
)
def test_unknown_words_are_named(source, capsys, words, line):
    assert cli.main(source, words) == 2
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("word", ["help", "--help", "-h"])
def test_help_is_no_error_and_has_all_actions(source, capsys, word):
    assert cli.main(source, [word]) == 0

    output, errors = capsys.readouterr()
    assert errors == ""
    for action in cli.ACTIONS:
        assert f"    {action:<11} " in output


def test_version_is_reported(source, capsys):
    assert cli.main(source, ["--version"]) == 0
    assert capsys.readouterr() == (f"Pylonyard {pylonyard.__version__}\n", "")


def test_status_is_printed_as_json(source, capsys):
    output = {"version": 1, "site": "shop", "state": "stopped", "status": 3}

    assert cli.main(source, ["status", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == {
        **output,
        "address": "http://127.0.0.1:8080/",
        "process": None,
        "text": "stopped",
    }

    source.unlink()
    assert cli.main(source, ["status", "--json"]) == 4
    assert json.loads(capsys.readouterr().out) == {
        **output,
        "state": "unknown",
        "status": 4,
        "address": None,
        "process": None,
        "text": f"cannot read {source}: No such file or directory",
    }


def test_one_word_needs_no_argparse():
    """Init and cron ask for the status often."""
    script = (
        f"import sys; sys.path.insert(0, {RECIPES!r}); from pylonyard.server import cli; "
        "print(cli.main('/none/shop/server.json', ['status'])); print('argparse' in sys.modules)"
    )
    words = [sys.executable, "-I", "-S", "-c", script]
    output = subprocess.run(words, capture_output=True, text=True)

    assert output.stdout == "4\nFalse\n"


def test_success_that_cannot_be_printed_is_no_failure(source):
    code = (
        f"import sys; sys.path.insert(0, {RECIPES!r}); from pylonyard.server import cli; "
        "sys.exit(cli.main(sys.argv[1], sys.argv[2:]))"
    )
    ended = {}
    for words in (("stop",), ("status",), ("status", "--json"), ("--help",)):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-I", "-c", code, source, *words]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        ended[words] = done.returncode
        assert done.stderr in ("", "shop: cannot print: No space left on device\n")

    assert list(ended.values()) == [0, 3, 3, 1]


def test_dead_and_stopped_sites_are_distinguished(source, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "shop.wanted").write_text("up\n")

    assert cli.main(source, ["status"]) == 1
    line = f"shop: dead, though it was started, see {tmp_path}/log\n"
    assert capsys.readouterr() == (line, "")


@pytest.mark.parametrize("action", ["restart", "force-reload"])
def test_restart_of_a_site_of_mod_wsgi_is_a_new_time_of_its_script(source, capsys, action):
    values = json.loads(source.read_text())
    source.write_text(json.dumps({**values, "mode": "mod_wsgi", "user": "no-such-user"}))
    script = source.with_name("dispatch.wsgi")
    script.write_text("")
    os.utime(script, (0, 0))

    assert cli.main(source, [action]) == 0

    assert script.stat().st_mtime > 0
    assert capsys.readouterr() == ("shop: mod_wsgi loads it again at the next request\n", "")


def test_embedded_site_is_not_restarted_alone(source, capsys):
    values = json.loads(source.read_text())
    source.write_text(json.dumps({**values, "mode": "embedded"}))

    assert cli.main(source, ["restart"]) == 6
    line = "shop: runs in Apache's own processes: apache2ctl graceful loads it again\n"
    assert capsys.readouterr() == ("", line)


def test_missing_settings_are_one_line(tmp_path, capsys):
    source = tmp_path / "shop" / "server.json"

    line = f"shop: cannot read {source}: No such file or directory\n"
    for action, code in {"start": 6, "stop": 6, "status": 4}.items():
        assert cli.main(source, [action]) == code
        assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    ("error", "code", "err"),
    [
        (ServerError("no", 5), 5, "shop: no\n"),
        (PermissionError(13, "Permission denied", "/x"), 4, "shop: /x: Permission denied\n"),
        (OSError(28, "No space left on device", "/x"), 1, "shop: /x: No space left on device\n"),
        (KeyboardInterrupt(), 130, "shop: interrupted\n"),
    ],
)
def test_errors_have_a_line_and_a_status(source, capsys, error, code, err):
    def action(_):
        raise error

    assert cli.act(source, action) == code
    assert capsys.readouterr() == ("", err)
