"""Find the children with the new configuration; our own process stands for Apache's."""

import datetime
import os
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from pylonyard.webservers.apache.graceful import TICK, Handover


@contextmanager
def child(**more):
    with subprocess.Popen(["sleep", "60"], **more) as process:
        yield process
        process.kill()


@pytest.fixture
def log(tmp_path):
    """The log that Apache writes: it is open in our process."""
    path = tmp_path / "error.log"
    with path.open("a", buffering=1) as stream:
        stream.write(resumed(datetime.datetime.now()))
        yield stream


def resumed(when):
    stamp = when.strftime("%a %b %d %H:%M:%S.%f %Y")
    what = "AH00489: Apache/2.4.71 (Debian) configured -- resuming normal operations"
    return f"[{stamp}] [mpm_event:notice] [pid 7:tid 7] {what}\n"


def test_child_of_the_configuration_before_is_none_of_the_new_one(log):
    handover = Handover(os.getpid(), Path(log.name))

    with child():
        assert not handover.has_begun()
        log.write(resumed(datetime.datetime.now()))
        assert not handover.has_begun()
        with child():
            assert handover.has_begun()
            assert handover.has_ended()


def test_child_that_may_still_accept_a_request_keeps_it_from_ending(log):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        handover = Handover(os.getpid(), Path(log.name))
        with child(pass_fds=[listener.fileno()]):
            assert not handover.has_begun()
            log.write(resumed(datetime.datetime.now()))
            with child(pass_fds=[listener.fileno()]):
                assert handover.has_begun()
                assert not handover.has_ended()
        with child(pass_fds=[listener.fileno()]):
            assert handover.has_ended()


def test_without_a_log_a_child_that_was_started_since_is_of_the_new_configuration(tmp_path):
    with child():
        time.sleep(TICK)
        handover = Handover(os.getpid(), tmp_path / "error.log")
        assert not handover.has_begun()

        with child():
            assert handover.has_begun()
