import getpass
import shutil
import sys

import pytest
from pylonyard.releases import validators
from pylonyard.releases.validators import Draft, Validator, validators_of
from pylonyard.system.errors import CommandError
from pylonyard.system.subprocesses import PROGRAM_PATH, first_error

NAMES = {
    "shop/production.ini": ["PasteDeploy"],
    "shop/dispatch.wsgi": ["Python"],
    "shop/server.json": ["pylonyard.server"],
    "etc/apache2/sites-available/shop.conf": ["apache2"],
    "shop/httpd.conf": [],
    "etc/init.d/shop": ["sh", "checkbashisms"],
    "etc/cron.d/shop": ["crontab"],
    "etc/logrotate.d/shop": ["logrotate"],
    "bin/shop": [],
    "shop/crontab": [],
}


@pytest.mark.parametrize(("path", "names"), NAMES.items())
def test_path_states_the_validators(path, names):
    assert [validator.name for validator in validators_of(path)] == names


@pytest.fixture
def draft(tmp_path):
    """A release in which site ``shop`` runs on our own interpreter."""
    (tmp_path / "shop" / "env" / "bin").mkdir(parents=True)
    (tmp_path / "shop" / "env" / "bin" / "python").symlink_to(sys.executable)
    return Draft(tmp_path, tmp_path / "current")


def judged(draft, path, text):
    """Have all validators of ``path`` that this machine has judge ``text``."""
    place = draft.folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    for validator in validators_of(path):
        if validator.found():
            validator.check(draft, path)


@pytest.mark.system
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("shop/dispatch.wsgi", "# -*- coding: utf-8 -*-\nname = 'ü'\n"),
        ("etc/init.d/shop", "#!/bin/sh\necho ok\n"),
        ("etc/cron.d/shop", "MAILTO=root\n* * * * * root true\n"),
        ("etc/logrotate.d/shop", '"/var/log/shop.log"\n{\n    missingok\n}\n'),
    ],
)
def test_good_file_passes(draft, path, text):
    judged(draft, path, text)


@pytest.mark.system
@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        (
            "shop/server.json",
            "[]",
            "shop/server.json: {0}/shop/server.json: expected a JSON object, got a list",
        ),
        (
            "shop/dispatch.wsgi",
            "def broken(:\n",
            "shop/dispatch.wsgi: SyntaxError: invalid syntax",
        ),
        (
            "etc/init.d/shop",
            "#!/bin/sh\nif true\n",
            "etc/init.d/shop: {0}/etc/init.d/shop: 3: Syntax error: "
            'end of file unexpected (expecting "then")',
        ),
    ],
)
def test_bad_file_is_refused_in_the_words_of_its_program(draft, path, text, message):
    with pytest.raises(CommandError) as caught:
        judged(draft, path, text)

    assert str(caught.value) == message.format(draft.folder)


needs_logrotate = pytest.mark.skipif(
    not shutil.which("logrotate", path=PROGRAM_PATH), reason="logrotate is not on this machine"
)


@needs_logrotate
def test_logrotate_takes_no_group_that_this_process_is_not_in(draft, monkeypatch):
    text = f'"/var/log/x"\n{{\n    su {getpass.getuser()} no-such-group\n    missingok\n}}\n'
    with pytest.raises(CommandError, match="no-such-group"):
        judged(draft, "etc/logrotate.d/shop", text)

    monkeypatch.setattr("os.geteuid", lambda: 1)
    monkeypatch.setattr("os.getegid", lambda: 1)  # as after newgrp
    judged(draft, "etc/logrotate.d/shop", text)


@needs_logrotate
def test_logrotate_refuses_what_it_does_not_know(draft):
    with pytest.raises(CommandError, match=r": .*unknown option 'weakly'"):
        judged(draft, "etc/logrotate.d/shop", '"/var/log/x"\n{\n    missingok\n    weakly\n}\n')


def test_each_site_is_checked_by_its_own_interpreter(draft):
    assert draft.python("blog/production.ini") == draft.folder / "blog/env/bin/python"


def test_program_that_is_missing_is_reported():
    def check(*_):
        raise AssertionError

    assert Validator("x", "*", check).found() is True
    assert Validator("x", "*", check, "sh").found() is True
    assert Validator("x", "*", check, "no-such-program").found() is False


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", ""),
        ("reading\nerror: bad\ndone\n", "error: bad"),
        (
            "Syntax error on line 3 of /x:\nInvalid command\nmore\n",
            "Syntax error on line 3 of /x: Invalid command",
        ),
        ("a\nb\n", "b"),
        ("Error:\n", "Error:"),
    ],
)
def test_first_error_is_reported(output, line):
    assert first_error(output) == line


def test_required_validator_names_its_package():
    assert all(v.package for v in validators.VALIDATORS if v.program)
