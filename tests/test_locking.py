import os
import subprocess
import sys

import pytest
from pylonyard import locking
from support import undone
from zc.buildout import UserError

HOLD = "import sys, pathlib; from pylonyard import locking; locking.hold(pathlib.Path(sys.argv[1]))"


@pytest.fixture(autouse=True)
def released():
    with undone():
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


def test_lock_is_held_until_the_process_ends(tmp_path):
    with other_run(tmp_path, "print('held', flush=True)", "input()") as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError) as caught:
            locking.hold(tmp_path)
        other.kill()

    assert str(caught.value) == (
        f"another run is at work in {tmp_path} (process {other.pid}); wait until it has finished"
    )
    locking.hold(tmp_path)
    assert (tmp_path / ".pylonyard.lock").read_text() == f"{os.getpid()}\n"


def test_lock_is_taken_once_for_all_parts_of_a_run(tmp_path):
    locking.hold(tmp_path)
    held = dict(locking._held)

    locking.hold(tmp_path)

    assert locking._held == held


def test_lock_that_may_not_be_opened_is_one_line(tmp_path):
    (tmp_path / ".pylonyard.lock").mkdir()

    with pytest.raises(UserError) as caught:
        locking.hold(tmp_path)

    assert str(caught.value) == (
        f"cannot lock {tmp_path}: .pylonyard.lock: Is a directory; run this as its owner"
    )


def test_planted_link_is_not_followed(tmp_path):
    (tmp_path / ".pylonyard.lock").symlink_to(tmp_path / "victim")

    with pytest.raises(UserError, match="Too many levels of symbolic links"):
        locking.hold(tmp_path)

    assert not (tmp_path / "victim").exists()
