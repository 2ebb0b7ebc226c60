import fcntl
import os
import re
import subprocess
import sys
import threading

import pytest
from pylonyard.system import locks
from pylonyard.system.errors import UserError
from support import LOCKS, reset_buildout

HOLD = """\
import pathlib, sys
from pylonyard.system.locks import Locks
Locks().hold_sandbox(pathlib.Path(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def released():
    with reset_buildout():
        yield


def other_run(directory, *statements):
    program = "\n".join([HOLD, *statements])
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", program, directory],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


@pytest.mark.system
def test_lock_is_held_until_the_process_ends(tmp_path):
    with other_run(tmp_path, "print('held', flush=True)", "input()") as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError) as caught:
            LOCKS.hold_sandbox(tmp_path)
        other.kill()

    assert re.fullmatch(
        rf"another run is at work in {tmp_path} "
        rf"\(process {other.pid}, since \d\d:\d\d:\d\d: -c {tmp_path}\); "
        "wait until it has finished",
        str(caught.value),
    )
    LOCKS.hold_sandbox(tmp_path)
    assert (tmp_path / ".pylonyard.lock").read_text().startswith(f"process {os.getpid()}, since ")


@pytest.mark.system
def test_holder_is_named_once_it_has_signed(tmp_path):
    """Not the one before it, whose process is gone."""
    lock = tmp_path / ".pylonyard.lock"
    lock.write_text("process 999999999, since 00:00:00: buildout\n")
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        signed = f"process {os.getpid()}, since 12:00:00: buildout"
        threading.Timer(0.2, lock.write_text, [signed]).start()
        with pytest.raises(UserError, match=re.escape(f"({signed})")):
            LOCKS.hold_sandbox(tmp_path)


def test_holder_that_has_not_signed_is_not_guessed(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    lock = tmp_path / ".pylonyard.lock"
    lock.write_text("-1\n")
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="an unknown process"):
            LOCKS.hold_sandbox(tmp_path)


def test_values_of_the_command_line_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bin/buildout", "-o", "ini:database-url=secret"])

    LOCKS.hold_sandbox(tmp_path)

    assert (tmp_path / ".pylonyard.lock").read_text().endswith(": buildout -o\n")


def test_lock_is_taken_once_for_all_parts_of_a_run(tmp_path):
    LOCKS.hold_sandbox(tmp_path)
    held = dict(LOCKS.held)

    LOCKS.hold_sandbox(tmp_path)

    assert LOCKS.held == held


def test_lock_that_may_not_be_opened_is_one_line(tmp_path):
    (tmp_path / ".pylonyard.lock").mkdir()

    with pytest.raises(UserError) as caught:
        LOCKS.hold_sandbox(tmp_path)

    assert str(caught.value) == (
        f"cannot lock {tmp_path}: {tmp_path}/.pylonyard.lock is not a regular file, as it has to "
        "be: see what it is, and move it elsewhere"
    )


def test_planted_link_is_not_followed(tmp_path):
    (tmp_path / ".pylonyard.lock").symlink_to(tmp_path / "victim")

    with pytest.raises(UserError, match="is not a regular file, as it has to be"):
        LOCKS.hold_sandbox(tmp_path)

    assert not (tmp_path / "victim").exists()
