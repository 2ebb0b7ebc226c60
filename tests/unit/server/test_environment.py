import os
import pwd

import pytest
from pylonyard.server import environment
from pylonyard.server.environment import GENTLE, command, interpreter
from pylonyard.server.settings import parse
from pylonyard.system.errors import ServerError
from pylonyard.system.processes import server_marker

from tests.unit.server.test_settings import SOURCE, VALUES

CALLER = {"PATH": "/home/x/bin", "LD_PRELOAD": "x.so", "TZ": "UTC", "TERM": "linux"}


def test_server_gets_nothing_of_the_caller_but_its_time_zone():
    settings = parse({**VALUES, "environment": {"LANG": "de_DE.UTF-8"}}, SOURCE)
    account = environment.current()

    found = environment.of_server(settings, CALLER, server_marker(settings.identity))

    assert found == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "de_DE.UTF-8",
        "HOME": account.home,
        "USER": account.name,
        "LOGNAME": account.name,
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "PYLONYARD_SERVER": "/srv/shop:shop",
    }


def test_program_at_a_terminal_knows_it():
    found = environment.of_terminal(parse(VALUES, SOURCE), CALLER)

    assert found["TERM"] == "linux"
    assert "LD_PRELOAD" not in found


def test_nobody_but_root_becomes_another(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.getpwnam("root"))

    with pytest.raises(ServerError) as caught:
        environment.become("nobody")

    assert str(caught.value) == "only root and nobody may do this, not root"
    assert caught.value.code == 4


def test_root_drops_groups_before_the_user(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("initgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, lambda *_, name=name: calls.append(name))

    assert environment.become("nobody").name == "nobody"

    assert calls == ["initgroups", "setresgid", "setresuid"]


def test_missing_account_is_not_configured():
    with pytest.raises(ServerError) as caught:
        environment.become("no-such-user")

    assert str(caught.value) == "there is no account no-such-user on this machine"
    assert caught.value.code == 6


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("#!/srv/bin/python2.7 -E", ["/srv/bin/python2.7", "-E"]),
        ("#! /srv/bin/python", ["/srv/bin/python"]),
        ("#!/bin/sh", []),
        ("#!/usr/bin/env python", []),
        ("\x7fELF", []),
        ("", []),
    ],
)
def test_interpreter_of_a_script(tmp_path, first, words):
    script = tmp_path / "paster"
    script.write_text(first + "\nimport x\n")

    assert interpreter(script) == words


def test_paster_is_wrapped_if_python_runs_it(tmp_path):
    script = tmp_path / "paster"
    settings = parse({**VALUES, "paster": str(script)}, SOURCE)
    served = [str(script), "serve", "/srv/shop/production.ini"]

    script.write_text("#!/srv/bin/python\n")
    assert command(settings) == ["/srv/bin/python", str(GENTLE), *served]

    script.write_text("#!/bin/sh\n")
    assert command(settings) == served
