import os
import socket
from pathlib import Path

import pytest
from ports import free_port
from pylonyard.releases import servers
from pylonyard.releases.contents import Site


def site(user="root", port=8080):
    paths = {name: Path("/srv", name) for name in ("data", "live", "log")}
    return Site(name="shop", user=user, port=port, **paths)


@pytest.mark.parametrize("user", ["root", "nobody of that name"])
def test_server_of_another_account_counts_as_running_if_its_port_is_taken(monkeypatch, user):
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    port = free_port()
    shop = site(user, port)

    with socket.create_server(("127.0.0.1", port)):
        assert servers.runs(Path("/nowhere/bin/shop"), shop)
    assert not servers.runs(Path("/nowhere/bin/shop"), shop)


@pytest.mark.parametrize(("status", "runs"), [(0, True), (1, False), (3, False), (4, True)])
def test_a_command_says_whether_its_server_runs(tmp_path, status, runs):
    control = tmp_path / "shop-httpd"
    control.write_text(f"#!/bin/sh\ntest $1 = status || exit 9\nexit {status}\n")
    control.chmod(0o755)

    assert servers.runs(control, site()) is runs


def test_description_that_is_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "shop").mkdir()
    os.mkfifo(tmp_path / "shop/server.json")

    assert servers.commands(tmp_path, []) == {}


def test_output_of_a_command_need_not_be_text(tmp_path):
    control = tmp_path / "shop"
    control.write_text("#!/bin/sh\nprintf 'caf\\351 stops\\n'\n")
    control.chmod(0o755)

    assert servers.run_command(control, "stop", site().user) == (0, "caf\ufffd stops")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_without_the_account_nothing_is_run():
    gone = site("nobody of that name")

    assert servers.run_command(Path("/bin/true"), "stop", gone.user) == (
        1,
        "/bin/true stop: account nobody of that name: it is missing",
    )
