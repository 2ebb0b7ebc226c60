import contextlib
import json
import os
import pwd
import socket
import subprocess
import sys

import pytest
from pylonyard.releases import servers
from pylonyard.releases.contents import Release, Servers, Site

SERVER = """
import socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
input()
"""


@pytest.fixture
def release(tmp_path):
    """Give what makes the release of a site for a port; it is current since long ago."""

    def make(port):
        live = tmp_path / "releases/1/shop"
        live.mkdir(parents=True)
        values = dict.fromkeys(("paster", "ini", "log", "application-log", "run", "data"), "/x")
        values |= {"name": "shop", "sandbox": str(tmp_path), "port": port}
        (live / "server.json").write_text(json.dumps(values))
        (tmp_path / "current").symlink_to("releases/1")
        os.utime(tmp_path / "current", (0, 0), follow_symlinks=False)
        user = pwd.getpwuid(os.geteuid()).pw_name
        site = Site(name="shop", user=user, data=live, live=live, log=live, port=port)
        return Release(1, live.parent, (site,), ())

    return make


@contextlib.contextmanager
def listening(environ):
    """Have a process listen; give its port."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", SERVER], env=environ, **pipes) as process:
        yield int(process.stdout.readline())


@pytest.fixture
def serving(tmp_path):
    """Give the port of a server that has the mark of the site."""
    with listening({"PYLONYARD_SERVER": f"{tmp_path}:shop"}) as port:
        yield port


def test_server_at_its_address_is_left_alone(release, serving):
    assert servers.server_states(release(serving)) == Servers()


def test_server_of_an_earlier_release_is_outdated(release, serving, tmp_path):
    made = release(serving)
    os.utime(tmp_path / "current", (2**33, 2**33), follow_symlinks=False)

    assert servers.server_states(made) == Servers(outdated={"shop"})


def test_server_at_another_address_has_moved(release, serving):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    assert servers.server_states(release(port)) == Servers(moved={"shop"})


def test_process_that_has_the_address_is_named(release):
    with listening({}) as port:
        found = servers.server_states(release(port))

    assert found.taken["shop"].startswith("process ")
    assert not found.moved


def test_site_that_nobody_serves_is_in_no_state(release):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    assert servers.server_states(release(port)) == Servers()
