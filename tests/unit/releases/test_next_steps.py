import contextlib
import json
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pylonyard.releases import next_steps
from pylonyard.releases.next_steps import DOWN, EARLIER, FOREGROUND, TAKEN, THIS, UNSEEN, SiteStart
from pylonyard.system import accounts

TRIED = SiteStart(
    name="shop",
    user="jim",
    environment="development",
    address="http://127.0.0.1:8080/",
    host="127.0.0.1",
    port=8080,
    webserver="",
    waits=False,
)
LIVE = TRIED._replace(environment="production", user="shop")
BY_APACHE = LIVE._replace(webserver="apache")
ACTIVATE = f"  {accounts.as_root('bin/pylonyard activate')}   has this machine serve it"


@pytest.mark.parametrize(
    ("site", "seen", "active", "is_ours", "message"),
    [
        (TRIED, DOWN, None, True, ["  bin/shop start   serves it at http://127.0.0.1:8080/"]),
        (TRIED, EARLIER, None, True, ["  bin/shop restart   serves it at http://127.0.0.1:8080/"]),
        (
            TRIED,
            THIS,
            None,
            True,
            ["  bin/shop status   it is served already at http://127.0.0.1:8080/"],
        ),
        (
            TRIED,
            FOREGROUND,
            None,
            True,
            ["  bin/shop fg   stop it and start it again, at http://127.0.0.1:8080/"],
        ),
        (
            TRIED,
            TAKEN,
            None,
            True,
            [
                "  shop: port 8080 is taken by process 7 (x): set another port in [site], "
                "or end that if it is yours"
            ],
        ),
        (
            LIVE,
            DOWN,
            None,
            False,
            [
                ACTIVATE,
                f"  {accounts.as_root('bin/shop start')}   serves it at http://127.0.0.1:8080/",
            ],
        ),
        (LIVE, UNSEEN, 1, False, [ACTIVATE]),
        (LIVE, EARLIER, 1, True, [ACTIVATE]),
        (LIVE, THIS, 2, True, ["  bin/shop status   it is served already at " + LIVE.address]),
        (LIVE._replace(waits=True), DOWN, None, False, [ACTIVATE]),
        (
            BY_APACHE,
            DOWN,
            None,
            True,
            [ACTIVATE, "  bin/shop-httpd start   serves it at http://127.0.0.1:8080/"],
        ),
        (
            BY_APACHE._replace(environment="development"),
            EARLIER,
            None,
            True,
            ["  bin/shop-httpd graceful   serves it at http://127.0.0.1:8080/"],
        ),
        (BY_APACHE, DOWN, 1, True, [ACTIVATE]),
        (BY_APACHE, DOWN, 2, True, []),
    ],
)
def test_line_is_the_one_that_works_as_things_are(site, seen, active, is_ours, message):
    who = "process 7 (x)"

    assert list(next_steps.lines(site, seen, active, 2, is_ours=is_ours, who=who)) == message


def test_several_sites_are_activated_by_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(next_steps, "port_state", lambda *_: (DOWN, ""))
    sites = [LIVE._replace(waits=True), LIVE._replace(name="blog", waits=True)]

    assert next_steps.next_lines(tmp_path, 1, sites) == [ACTIVATE]


def described(sandbox):
    """Write the description of the site's server."""
    (sandbox / "current/shop").mkdir(parents=True)
    values = dict.fromkeys(("paster", "ini", "log", "application-log", "run", "data"), "/x")
    values |= {"name": "shop", "sandbox": str(sandbox), "port": 1}
    (sandbox / "current/shop/server.json").write_text(json.dumps(values))


def test_other_program_at_the_port_is_named(tmp_path):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        site = BY_APACHE._replace(port=other.getsockname()[1])
        seen, who = next_steps.port_state(Path("/nowhere"), site)
        assert (seen, who) == (UNSEEN, "")

        described(tmp_path)
        seen, who = next_steps.port_state(tmp_path, site)

    assert (seen, who.partition(" (")[0]) == (TAKEN, f"process {os.getpid()}")


def test_site_that_runs_at_its_port_of_before_is_restarted(tmp_path):
    known = f"{tmp_path}:shop"
    marks = {"PYLONYARD_SUPERVISOR": known, "PYLONYARD_FOREGROUND": known}
    account = pwd.getpwuid(os.geteuid()).pw_name
    site = TRIED._replace(port=1, user=account)
    described(tmp_path)
    os.utime(tmp_path / "current", (2**33, 2**33))
    for mark, seen in zip(marks, (EARLIER, FOREGROUND), strict=True):
        with subprocess.Popen(["sleep", "60"], env={mark: known}) as server:
            assert next_steps.port_state(tmp_path, site) == (seen, "")
            server.kill()


def test_private_apache_at_its_port_of_before_reads_its_files_again(tmp_path):
    site = BY_APACHE._replace(port=1)
    described(tmp_path)
    config = tmp_path / "current/shop/httpd.conf"
    words = [sys.executable, "-c", "input()", config]
    with subprocess.Popen(words, stdin=subprocess.PIPE):
        assert next_steps.port_state(tmp_path, site) == (EARLIER, "")


def test_free_port_is_free():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

    assert next_steps.port_state(Path("/nowhere"), TRIED._replace(port=port)) == (DOWN, "")
