"""Supervisors of before, real processes with the mark of one."""

import contextlib
import os
import subprocess
import sys

import pytest
from pylonyard.server.control import wait_for_supervisors
from pylonyard.server.settings import parse
from pylonyard.system.processes import supervisor_marker

from tests.unit.server.test_settings import SOURCE, VALUES


@pytest.fixture
def site(tmp_path):
    return parse({**VALUES, "sandbox": str(tmp_path), "stop-timeout": 1}, SOURCE)


@contextlib.contextmanager
def supervising(site):
    marker = supervisor_marker(site.identity)
    words = [sys.executable, "-c", "print(flush=True); input()"]
    environ = {**os.environ, marker.variable: marker.identity}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, env=environ, **pipes) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_supervisor_that_nobody_told_to_stop_goes_on(site):
    """Its successor may have ended before it could send the signal."""
    with supervising(site) as before:
        assert not wait_for_supervisors(site, [before.pid])
        assert before.poll() is None


def test_supervisor_that_does_not_give_way_to_its_successor_is_ended(site):
    with supervising(site) as before, supervising(site) as successor:
        assert wait_for_supervisors(site, [before.pid])
        assert before.wait() < 0
        assert successor.poll() is None


def test_one_that_has_ended_is_not_waited_for(site):
    with supervising(site) as before:
        pass

    assert wait_for_supervisors(site, [before.pid])
