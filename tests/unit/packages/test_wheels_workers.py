import os
import signal
import subprocess
import sys
import time

import pytest
from pylonyard.packages import wheels
from support import CHECKOUT

ORPHAN = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pylonyard.packages import wheels
def work(number):
    open(f"{sys.argv[2]}/{number}-{os.getpid()}", "w").close()
    time.sleep(0.05)
wheels.share_work(work, range(1000))
"""


@pytest.fixture
def two_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.system
def test_every_item_is_worked_on_once_in_several_processes(tmp_path, two_processors):
    def work(number):
        with (tmp_path / str(number)).open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        time.sleep(0.001)

    wheels.share_work(work, range(100))

    done = {path.name: path.read_text().split() for path in tmp_path.iterdir()}
    assert sorted(done, key=int) == [str(number) for number in range(100)]
    assert all(len(processes) == 1 for processes in done.values())
    assert len({process for processes in done.values() for process in processes}) == 2


@pytest.mark.system
def test_more_items_than_a_pipe_holds_are_all_worked_on(tmp_path, two_processors):
    log = tmp_path / "log"
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    wheels.share_work(lambda number: os.write(stream, b"%d\n" % number), range(20000))

    assert sorted(map(int, log.read_text().split())) == list(range(20000))


@pytest.mark.system
def test_error_of_another_process_is_raised_here(tmp_path, two_processors):
    parent = os.getpid()

    def work(number):
        if os.getpid() == parent and not (tmp_path / "tried").exists():
            time.sleep(0.05)  # The other takes the rest.
        if number == 7:
            (tmp_path / "tried").touch()
            raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        wheels.share_work(work, range(10))


def test_error_here_ends_the_other_processes(two_processors):
    parent, began = os.getpid(), time.monotonic()

    def work(_):
        if os.getpid() == parent:
            raise ValueError("here")
        time.sleep(0.01)

    with pytest.raises(ValueError, match="here"):
        wheels.share_work(work, range(4000))

    assert time.monotonic() - began < 10


def test_few_items_stay_in_this_process(two_processors):
    processes = []

    wheels.share_work(lambda _: processes.append(os.getpid()), range(5), few=5)
    wheels.share_work(lambda _: processes.append(os.getpid()), range(1))

    assert processes == [os.getpid()] * 6


@pytest.mark.system
def test_killed_run_leaves_none_that_works_on(tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("lacks a second processor")
    program = [sys.executable, "-c", ORPHAN, CHECKOUT / "recipes", tmp_path]
    run = subprocess.Popen(program)
    while len({path.name.partition("-")[2] for path in tmp_path.iterdir()}) < 2:
        assert run.poll() is None
        time.sleep(0.01)

    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    time.sleep(0.2)

    left = len(list(tmp_path.iterdir()))
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == left
