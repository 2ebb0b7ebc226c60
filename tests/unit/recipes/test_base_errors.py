"""Our errors, as a zc.buildout that we did not start prints them."""

import subprocess
import sys

import pytest
from pylonyard.config.layout import path_problem
from pylonyard.recipes.base import errors_for_buildout
from pylonyard.system import errors
from pylonyard.system.errors import CommandError, OptionError, PylonyardError
from zc.buildout import UserError

STOCK = """\
import sys
sys.path[:] = {path!r}
{before}
from zc.buildout.buildout import main
main(["-o"])
"""


def stock(folder, text, before=""):
    """Run zc.buildout's own program on a configuration, without anything of ours around it."""
    (folder / "buildout.cfg").write_text(f"[buildout]\nnewest = false\nversions =\n{text}")
    path = [place for place in sys.path if place]
    program = folder / "buildout"
    program.write_text(STOCK.format(path=path, before=before))
    done = subprocess.run([sys.executable, program], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize("first", ["import zc.buildout", "import pylonyard.system.errors"])
def test_stock_buildout_says_a_bad_option_in_one_line_whatever_was_imported_first(tmp_path, first):
    text = "parts = cron\n[cron]\nrecipe = pylonyard:cron_restart\nuser = a b\n"

    status, output = stock(tmp_path, text, first)

    assert status == 1
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("Error: [cron] ")
    assert "name: required, but missing; " in output.splitlines()[-1]


def test_stock_buildout_says_that_no_part_can_be_at_a_path(tmp_path):
    folder = tmp_path / "50%"
    folder.mkdir()

    status, output = stock(folder, "parts = cron\n[cron]\nrecipe = pylonyard:cron_restart\n")

    assert (status, output.splitlines()[-1]) == (1, f"Error: [cron] {path_problem(folder)}")


def test_stock_buildout_says_what_fails_while_it_installs_in_one_line(tmp_path):
    (tmp_path / "greeting.py").write_text(
        "from dataclasses import dataclass\n"
        "from pylonyard.recipes.base import Recipe\n"
        "from pylonyard.system.errors import CommandError\n"
        "@dataclass\nclass Options:\n    pass\n"
        "class Greeting(Recipe):\n    declaration = Options\n"
        "    def install(self):\n        raise CommandError('greet', 'nobody there', 'wait')\n"
    )
    info = tmp_path / "Greetings.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: greetings\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zc.buildout]\ndefault = greeting:Greeting\n")

    status, output = stock(
        tmp_path,
        "parts = hello\n[hello]\nrecipe = greetings\n",
        f"sys.path.append({str(tmp_path)!r})",
    )

    assert (status, output.splitlines()[-1]) == (1, "Error: greet: nobody there; wait")
    assert "Traceback" not in output


def test_error_stays_what_it_is_with_all_that_it_says():
    with pytest.raises(OptionError) as caught, errors_for_buildout():
        raise OptionError("ini", ["port: required, but missing", "user: no"])

    assert isinstance(caught.value, UserError)
    assert str(caught.value) == "[ini] port: required, but missing; user: no"
    assert caught.value.problems == ("port: required, but missing", "user: no")


def test_bug_is_no_message_for_a_user():
    with pytest.raises(KeyError) as caught, errors_for_buildout():
        raise KeyError("ini")

    assert not isinstance(caught.value, UserError)


def test_no_error_of_ours_is_zc_buildout_s_before_it_gets_there():
    assert not issubclass(CommandError, UserError)
    assert issubclass(errors.ServerError, PylonyardError)
