import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from pylonyard.server.settings import parse
from pylonyard.server.status import port_holder
from pylonyard.system.errors import ServerError
from pylonyard.system.processes import (
    Handle,
    Marker,
    command,
    descendants,
    environment,
    marked,
    send,
    shortened,
    started,
)

from tests.unit.server.test_settings import SOURCE, VALUES

MARKER = Marker("PYLONYARD_SERVER", "/srv/shop:shop")
OURS = b"PATH=/bin\0PYLONYARD_SERVER=/srv/shop:shop\0"


@pytest.fixture
def proc(tmp_path):
    """A /proc whose processes are made by calling it."""

    def add(pid, environment=b"", parent=1, uid=None):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "environ").write_bytes(environment)
        uid = os.getuid() if uid is None else uid
        status = f"Name:\tpaster\nPPid:\t{parent}\nUid:\t{uid}\t0\t0\t0\n"
        (tmp_path / str(pid) / "status").write_text(status)

    add.path = tmp_path
    return add


@pytest.mark.parametrize(
    "environment",
    [
        b"",  # of a zombie, or of the kernel
        b"PYLONYARD_SERVER=/srv/shop:shop2\0",
        b"PYLONYARD_SERVER=/srv/other:shop\0",
        b"X=PYLONYARD_SERVER=/srv/shop:shop\0",
        b"PYLONYARD_SUPERVISOR=/srv/shop:shop\0",
    ],
)
def test_other_processes_are_not_ours(proc, environment):
    proc(71, environment)

    assert marked(MARKER, proc.path) == []


def test_our_process_is_recognised_by_its_environment_and_user(proc):
    proc(71, OURS)
    proc(72, OURS, uid=os.getuid() + 1)
    (proc.path / "73").mkdir()  # it ended while we looked

    assert marked(MARKER, proc.path) == [71]


def test_without_proc_nothing_is_guessed(tmp_path):
    with pytest.raises(ServerError) as caught:
        marked(MARKER, tmp_path)

    output = f"{tmp_path} is not mounted: processes cannot be identified"
    assert str(caught.value) == output


def test_descendants_are_found_at_any_depth(proc):
    for pid, parent in ((90, 1), (71, 90), (72, 71), (73, 72), (80, 1)):
        proc(pid, parent=parent)

    assert sorted(descendants([90], proc.path)) == [71, 72, 73]


def test_supervisor_that_was_started_by_an_application_is_none_of_its_descendants(proc):
    for pid, parent in ((90, 1), (71, 90), (74, 73)):
        proc(pid, parent=parent)
    proc(73, b"PYLONYARD_SUPERVISOR=/srv/blog:blog\0", parent=71)

    assert descendants([90], proc.path) == [71]


def test_process_that_became_another_accounts_gets_no_signal(monkeypatch):
    def refused(descriptor, number):
        raise PermissionError

    monkeypatch.setattr(signal, "pidfd_send_signal", refused)
    with Handle(os.getpid()) as handle:
        assert handle.send(signal.SIGKILL) is False


def test_command_is_whole_and_text_in_any_case(proc):
    proc(71)
    (proc.path / "71" / "cmdline").write_bytes(b"paster\0serve\xff\0" + b"x" * 500 + b".ini\0")

    found = command(71, proc.path)

    assert found == f"paster serve\N{REPLACEMENT CHARACTER} {'x' * 500}.ini"


def test_command_that_has_the_port_is_shown_without_control_characters():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = [sys.executable, "-c", "input()", "\x1b[2J\nall is well", "x" * 500]
        holder = subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=[taken.fileno()])
        settings = parse({**VALUES, "host": "127.0.0.1", "port": taken.getsockname()[1]}, SOURCE)
    try:
        found = port_holder(settings)
    finally:
        holder.communicate(b"\n")

    output = found.partition(f"process {holder.pid} (")[2]
    assert output.startswith(f"{sys.executable} -c input() ?[2J?all is well xxx"), found
    assert (len(output), output.endswith("xxx...)")) == (201, True)


def test_text_of_others_is_shown_without_what_a_terminal_would_obey():
    assert shortened("\x1b[2J\nall is well", 99) == "?[2J?all is well"
    assert shortened("x" * 500, 200) == "x" * 197 + "..."


def test_process_that_is_not_marked_gets_no_signal():
    assert send(os.getpid(), signal.SIGKILL, MARKER) is False


def test_process_that_ended_gets_no_signal():
    pid = os.posix_spawn("/bin/true", ["true"], {})
    with Handle(pid) as handle:
        os.waitpid(pid, 0)
        assert handle.send(signal.SIGKILL) is False
    with Handle(pid) as handle:
        assert handle.send(signal.SIGKILL) is False


WAITING = [sys.executable, "-c", "print(flush=True); input()"]
"""Says that it is there, and ends with its standard input."""


@contextmanager
def running():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(WAITING, stderr=subprocess.DEVNULL, **pipes) as process:
        assert process.stdout.readline() == b"\n"
        yield process


def test_end_of_a_process_is_waited_for():
    with running() as process, Handle(process.pid) as handle:
        assert handle.wait(0) is False
        assert handle.send(signal.SIGKILL)
        assert handle.wait(60) is True
    with Handle(process.pid) as handle:
        assert handle.wait(0) is True


def test_start_and_command_of_a_process():
    with running() as process:
        assert time.time() - 86400 < started(process.pid) < time.time() + 1
        assert command(process.pid) == " ".join(WAITING)


def test_nothing_is_known_of_a_process_that_ended(tmp_path):
    assert (started(71, tmp_path), command(71, tmp_path)) == (None, "")


def test_process_of_a_moved_sandbox_is_known_by_where_it_works(tmp_path):
    data, marker = tmp_path / "data", Marker("PYLONYARD_SERVER", "/srv/new:shop")
    here = Marker("PYLONYARD_SERVER", "/srv/new:shop", (data,))
    other = Marker("PYLONYARD_SERVER", "/srv/new:blog", (data,))
    old = tmp_path / "old"
    old.mkdir()
    words = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(
        words, cwd=old, env={"PYLONYARD_SERVER": "/srv/old:shop"}, stdin=subprocess.PIPE
    ) as process:
        wait_for_environment(process.pid)
        assert not here.matches(process.pid)
        old.rename(data)
        found = [each.matches(process.pid) for each in (here, marker, other)]
        process.stdin.close()

    assert found == [True, False, False]


def wait_for_environment(pid):
    """Wait until ``pid`` has become its program."""
    while b"PYLONYARD_SERVER=/srv/old:shop" not in environment(pid):
        time.sleep(0.01)
