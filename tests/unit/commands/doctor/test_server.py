"""The process on the site's port: the site's own server, with the live ini, or another."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from ports import free_port
from pylonyard.commands.doctor import server
from pylonyard.system.processes import server_marker

from tests.unit.commands.doctor.test_command_checks import place, subject
from tests.unit.commands.doctor.test_permissions import result_of

__all__ = ["place"]  # a fixture

LISTENING = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    print(flush=True)
    input()
"""


@contextmanager
def listening(place, *words, **environment):
    """Give a site on whose port a process with the ``words`` in its command line listens."""
    port = free_port()
    (place / "current/shop/production.ini").write_text(f"[server:main]\nport = {port}\n")
    command = [sys.executable, "-c", LISTENING, str(port), *map(str, words)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = {**os.environ, **environment}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, **pipes) as process:
        assert process.stdout.readline() == b"\n"
        yield subject(place, port=port), process.pid


def test_live_ini_is_known_in_a_path_with_a_space(place):
    spaced = place / "my shop"
    spaced.mkdir()
    for name in ("releases", "current"):
        (place / name).rename(spaced / name)
    ini = spaced / "current/shop/production.ini"

    with listening(spaced, "serve", ini) as (site, _):
        past = time.time() - 60
        for path in (spaced / "current", ini):
            os.utime(path, (past, past), follow_symlinks=False)

        assert result_of(server.ini(site)) == (True, f"{ini} is served")
        assert result_of(server.port(site))[0] is True


def test_other_ini_is_red(place):
    with listening(place, "serve", "/elsewhere/other.ini") as (site, _):
        ok, text = result_of(server.ini(site))

    assert ok is False
    assert text.endswith(f" serves /elsewhere/other.ini, not {site.settings.ini}")


@pytest.mark.parametrize("name", ["current", "current/shop/production.ini"])
def test_change_after_the_start_is_red(place, name):
    ini = place / "current/shop/production.ini"
    with listening(place, "serve", ini) as (site, _):
        past, soon = time.time() - 60, time.time() + 120
        for path in (place / "current", ini):
            os.utime(path, (past, past), follow_symlinks=False)
        assert result_of(server.ini(site))[0] is True
        os.utime(place / name, (soon, soon), follow_symlinks=False)

        (found,) = server.ini(site)

    assert (found.ok, found.text, found.advice) == (
        False,
        f"{place / name} is dated in the future: the clock was set back",
        f"touch -h {place / name} && bin/shop restart",
    )


def test_stranger_on_the_port_is_red(place):
    with listening(place, "--password=hunter2") as (site, pid):
        ok, text = result_of(server.port(site))

    assert ok is False
    assert text.startswith(f"port {site.site.port} is held by process {pid} (")
    assert "hunter2" not in text


def test_server_that_wrote_a_title_is_no_stranger(place):
    site = subject(place)
    marker = server_marker(site.settings.identity)
    with listening(place, **{marker.variable: marker.identity}) as (site, _):
        assert result_of(server.port(site))[0] is True
